"""Training: the step, the schedule, averaged weights, logs, samples, states that can be resumed, several processes."""
