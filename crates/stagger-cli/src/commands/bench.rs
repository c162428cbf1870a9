//! `stagger bench`.

mod report;

use anyhow::anyhow;
use stagger::TrainingOptions;
use stagger::bench::Bench;

use super::print;
use crate::failure::Failure;
use crate::flags::BenchArgs;
use crate::terminal::say;

/// Trains on fixed random images, and says how fast.
pub fn run(arguments: &BenchArgs) -> Result<(), Failure> {
    let shape = arguments.images.shape()?;
    if arguments.images.classes == 0 {
        return Err(anyhow!("--classes is 0; give a whole number of at least 1").into());
    }
    let own = TrainingOptions {
        lr: Some(arguments.lr),
        straggler: Some(arguments.straggler.clone()),
        ..arguments.images.options()
    };
    let measured = Bench {
        options: own
            .or(arguments.pipeline.options())
            .or(arguments.engine.options()),
        shape,
        classes: arguments.images.classes,
        batches: arguments.batches,
        warmup: arguments.warmup,
        profile_kernels: arguments.profile_ops,
    }
    .run()?;
    let notes = [&measured.job.cut_misfit, &measured.job.unread_memory];
    notes.into_iter().flatten().for_each(|note| say(note));
    if arguments.json {
        print(&format!("{}\n", report::json(&measured)))?;
    } else {
        print(&report::table(&measured))?;
    }
    Ok(())
}
