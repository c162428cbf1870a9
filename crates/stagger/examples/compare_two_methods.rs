//! Two methods from the same initial weights, in the same order of samples.
//!
//! ```text
//! @OUTPUT@
//! ```

use stagger::Training;

fn main() -> Result<(), stagger::Error> {
    let mut rates = Vec::new();
    for schedule in ["bp", "dsp"] {
        let run = Training::new()
            .schedule(schedule)
            .stages(2)
            .max_batches(80)
            .run()?;
        println!("{run}");
        for (stage, times) in run.speed.stages.iter().enumerate() {
            let (busy, stale) = (100.0 * times.busy_share, times.staleness_max);
            println!("  stage {stage}: busy {busy:.0} % of the time, staleness {stale}");
        }
        rates.push(run.speed.images_per_second);
    }
    println!("dsp is {:.2} times as fast as bp", rates[1] / rates[0]);
    Ok(())
}
