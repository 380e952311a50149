"""One module per way of running a model; each fulfils `runtime.backend.Backend` and imports its library lazily."""
