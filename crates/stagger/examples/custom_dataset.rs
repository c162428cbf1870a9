//! Images of one's own: anything that implements `Dataset`, here stripes that are drawn in memory.
//!
//! ```text
//! resnet8 on stripes, dsp(1,0;2,0): version 64, loss 0.000, test 100.0 % (best 100.0 % at version 32), 3234 images/s
//! ```

use stagger::Training;
use stagger::data::{DataError, InMemory, Split};

const SIDE: usize = 16;

/// Grey images of stripes, one or two pixels wide, across or down: four classes.
fn stripes(len: usize, seed: usize) -> Result<InMemory, DataError> {
    let classes = ["thin rows", "wide rows", "thin columns", "wide columns"];
    let labels: Vec<u16> = (0..len).map(|image| (image % 4) as u16).collect();
    let mut pixels = Vec::with_capacity(len * SIDE * SIDE);
    for (image, label) in labels.iter().enumerate() {
        for at in 0..SIDE * SIDE {
            let along = if *label < 2 { at / SIDE } else { at % SIDE };
            let width = 1 + usize::from(label % 2);
            let bright = (along + image / 4) / width % 2 == 1;
            let noise = (at * 7919 + (image + seed) * 104_729) % 97;
            pixels.push(100 * u8::from(bright) + noise as u8);
        }
    }
    InMemory::new("stripes", classes, [1, SIDE, SIDE], labels, pixels)
}

fn main() -> Result<(), stagger::Error> {
    let split = Split::new(stripes(1024, 0)?, stripes(256, 5000)?)?;
    let run = Training::new()
        .dataset(split)
        .schedule("dsp")
        .stages(2)
        .batch_size(32)
        .epochs(2)
        .run()?;
    println!("{run}");
    Ok(())
}
