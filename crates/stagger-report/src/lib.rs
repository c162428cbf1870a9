//! Sinks of runtime events: console, run folder, metrics, weights.
