//! The figures of a run for Prometheus.

use stagger::job::Job;
use stagger::report::MetricsServer;

use crate::terminal;

/// Says on the standard error where the figures are, and in them what runs.
pub fn announce(server: &MetricsServer, job: &Job) {
    server.describe([
        ("model", job.model.name.clone()),
        ("dataset", job.split.train.name().to_owned()),
        ("schedule", job.schedule.to_string()),
        ("stages", job.schedule.stages().to_string()),
        ("replicas", job.replicas.to_string()),
        ("engine", job.engine_name()),
        ("dtype", job.precision.to_string()),
        ("version", env!("CARGO_PKG_VERSION").to_owned()),
    ]);
    let who = match server.is_open_to_others() {
        true => "; this address is open to other hosts, and asks for no password",
        false => "",
    };
    terminal::say(&format!(
        "metrics: http://{}/metrics{who}",
        server.address()
    ));
}
