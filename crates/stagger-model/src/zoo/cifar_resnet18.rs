//! ResNet-18 with a stem for small images: one 3×3 convolution of stride 1 instead of 7×7 and pooling.
//! Names follow the usual PyTorch port (kuangliu/pytorch-cifar), so its weights can be exchanged.

use super::cifar_resnet::of_basic_blocks;
use crate::block::Block;
use crate::layer::Layer;

/// A stem, eight residual blocks of 64, 128, 256, 512 channels, a head. Where the channels double, the shortcut is a
/// projection (option B of He et al. 2015, §3.3).
pub(super) fn blocks(channels: usize, classes: usize) -> Vec<Block> {
    let projection = |block: &str, inputs, outputs| {
        vec![
            Layer::conv1x1(format!("{block}.shortcut.0"), inputs, outputs, 2),
            Layer::batch_norm(format!("{block}.shortcut.1"), outputs),
        ]
    };
    of_basic_blocks(&[64, 128, 256, 512], 2, projection, channels, classes)
}
