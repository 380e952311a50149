"""How good generated pictures are: metrics, networks that look at pictures for them, the loop over a data set."""
