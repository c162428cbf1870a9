//! A whole run: ResNet-8 on the built-in images, by DSP over two stages.
//!
//! ```text
//! @OUTPUT@
//! ```

use stagger::Training;

fn main() -> Result<(), stagger::Error> {
    let run = Training::new()
        .model("resnet8")
        .dataset("shapes")
        .schedule("dsp")
        .stages(2)
        .epochs(1)
        .console()
        .run()?;
    println!("{run}");
    Ok(())
}
