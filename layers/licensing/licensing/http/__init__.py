"""HTTP in, HTTP out: the shapes of bodies, the reading of requests, and the one place that maps errors to answers."""
