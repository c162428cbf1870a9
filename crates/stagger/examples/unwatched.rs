//! A run that writes and prints nothing while it trains: what sinks are compared with (benchmarks/sinks/cost.sh, with arguments).
//!
//! ```text
//! 2100 images/s
//! ```

use stagger::{Error, Training, TrainingOptions};

fn main() -> Result<(), Error> {
    let mut words = std::env::args().skip(1);
    let model = words.next().unwrap_or_else(|| "resnet8".to_owned());
    let batches = words.next().and_then(|text| text.parse().ok());
    let size = words.next().and_then(|text| text.parse().ok());
    let options = TrainingOptions {
        evaluate: Some(false),
        ..TrainingOptions::default()
    };
    let mut training = Training::new()
        .options(options)
        .model(model)
        .schedule("dsp")
        .stages(2)
        .batch_size(size.unwrap_or(16))
        .epochs(1000)
        .max_batches(batches.unwrap_or(24));
    if let Some(folder) = words.next() {
        training = training.dataset("image-folder").data_dir(folder);
    }
    println!("{:.0} images/s", training.run()?.speed.images_per_second);
    Ok(())
}
