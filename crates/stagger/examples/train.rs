//! A whole run: ResNet-8 on the built-in images, by DSP over two stages.
//!
//! ```text
//! resnet8 on shapes · dsp(1,0;2,0) on 2 stages (blocks 2,3) · engine cpu · 157 batches of 64
//! calibration: bp on the same 2 stages, 40 batches: 414 images/s
//! epoch 1/1 · loss  1.288 · train  51.9 % · test  75.3 % (top-5  99.9 %) · lr 1.0e-5 ·    667 images/s · busy  84 %  99 % · bubble   8 % · staleness 2 0 · gap 0.0069 –
//! done at version 157 after 15.8 s, best test accuracy 75.3 % at version 157
//! throughput: dsp(1,0;2,0) 697 images/s, bp on the same 2 stages 414 images/s: 1.68 times (the ideal is 1.75 times; the calibration is short, so this is rough)
//! time of stage 0: forward 22 %, recompute 25 %, backward 38 %, send 14 %, unaccounted 1 %
//! time of stage 1: forward 31 %, backward 68 %
//! memory: peak 114.4 MiB resident; from shapes: images 35.2 MiB, weights, gradients and optimizer 882.3 KiB, kept inputs 6.2 MiB, graphs at most 64.0 MiB (the engine does not keep every output)
//! resnet8 on shapes, dsp(1,0;2,0): version 157, loss 1.288, test 75.3 % (best 75.3 % at version 157), 697 images/s
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
