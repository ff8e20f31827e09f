"""Published measurements, and the fit of the cost model's constants to them."""
