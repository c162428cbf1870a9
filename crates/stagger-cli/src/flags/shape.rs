//! Shapes of images.

use anyhow::{Result, bail};

/// Reads `3x32x32`.
///
/// # Errors
/// When it is no shape.
pub fn input_shape(text: &str) -> Result<[usize; 3]> {
    let sides: Vec<usize> = text
        .split('x')
        .map_while(|side| side.trim().parse().ok())
        .collect();
    match sides[..] {
        [channels, height, width] if text.split('x').count() == 3 && !sides.contains(&0) => {
            Ok([channels, height, width])
        }
        _ => {
            bail!("--input `{text}` is not a shape; give channels, height and width as in 3x32x32")
        }
    }
}
