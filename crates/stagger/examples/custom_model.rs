//! A network of one's own, as data: blocks of layers, cut between blocks.
//!
//! ```text
//! 24346 parameters
//! three-convolutions on shapes, dsp(1,1,0;4,2,0): version 157, loss 1.670, test 61.3 % (best 61.3 % at version 157), 8075 images/s
//! ```

use stagger::Training;
use stagger::model::{Block, Layer, Model};

fn main() -> Result<(), stagger::Error> {
    // 3×3 convolutions that halve the image, each with batch normalisation and a ReLU.
    let block = |name: &str, inputs, outputs| {
        let layers = vec![
            Layer::conv3x3(format!("{name}.conv"), inputs, outputs, 2),
            Layer::batch_norm(format!("{name}.bn"), outputs),
            Layer::Relu,
        ];
        Block::new(name, layers)
    };
    let head = vec![
        Layer::GlobalAvgPool,
        Layer::Flatten,
        Layer::linear("head.linear", 64, 10),
    ];
    let blocks = vec![
        block("first", 3, 16),
        block("second", 16, 32),
        block("third", 32, 64),
        Block::new("head", head),
    ];
    // Images of 3×32×32, 10 classes: those of `shapes`.
    let model = Model::new("three-convolutions", [3, 32, 32], 10, blocks)?;
    println!("{} parameters", model.parameter_count());

    let run = Training::new()
        .model(model)
        .schedule("dsp")
        .stages(3)
        .epochs(1)
        .run()?;
    println!("{run}");
    Ok(())
}
