//! Two methods from the same initial weights, in the same order of samples.
//!
//! ```text
//! resnet8 on shapes, bp: version 80, loss 1.620, test 50.9 % (best 50.9 % at version 80), 458 images/s
//!   stage 0: busy 39 % of the time, staleness 0
//!   stage 1: busy 61 % of the time, staleness 0
//! resnet8 on shapes, dsp(1,0;2,0): version 80, loss 1.692, test 48.3 % (best 48.3 % at version 80), 749 images/s
//!   stage 0: busy 88 % of the time, staleness 2
//!   stage 1: busy 100 % of the time, staleness 0
//! dsp is 1.63 times as fast as bp
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
