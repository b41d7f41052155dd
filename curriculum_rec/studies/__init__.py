"""Studies (host): arms by seeds, run to the end whatever happens, and what may be said of them."""
