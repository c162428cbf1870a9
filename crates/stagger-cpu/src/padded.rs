//! Images with zeros around them.

/// Where an image lies in a larger one of zeros, channels-last.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Frame {
    /// Channels of both.
    pub channels: usize,
    /// Rows and columns of the image.
    pub height: usize,
    pub width: usize,
    /// Row and column of its first pixel.
    pub top: usize,
    pub left: usize,
    /// Rows and columns of the whole.
    pub full_height: usize,
    pub full_width: usize,
}

impl Frame {
    /// An image with `padding` zeros on each side.
    pub(crate) fn around(channels: usize, height: usize, width: usize, padding: usize) -> Self {
        let (full_height, full_width) = (height + 2 * padding, width + 2 * padding);
        Self {
            channels,
            height,
            width,
            top: padding,
            left: padding,
            full_height,
            full_width,
        }
    }

    fn is_trivial(&self) -> bool {
        self.full_height == self.height && self.full_width == self.width
    }

    /// Values of the whole.
    fn full_len(&self) -> usize {
        self.full_height * self.pitch()
    }

    /// Where a row of one of several framed images starts.
    pub(crate) fn start(&self, sample: usize, row: usize) -> usize {
        sample * self.full_len() + row * self.pitch()
    }

    /// Values from one row to the next.
    pub(crate) fn pitch(&self) -> usize {
        self.full_width * self.channels
    }
}

/// Pixels that kernels take at a time: enough to pay for what is loaded once per group.
const GROUP_PIXELS: usize = 128;

/// Memory for a group of framed images, reused from group to group: only the zeros of the first stay.
pub(crate) struct Framed {
    frame: Frame,
    values: Vec<f32>,
}

impl Framed {
    /// Memory for groups of up to `samples` images.
    pub(crate) fn new(frame: Frame, samples: usize) -> Self {
        let len = if frame.is_trivial() {
            0
        } else {
            samples * frame.full_len()
        };
        Self {
            frame,
            values: vec![0.0; len],
        }
    }

    /// Frames images; they are returned as they are when there is nothing to add.
    pub(crate) fn set<'a>(&'a mut self, images: &'a [f32]) -> &'a [f32] {
        let Frame {
            channels,
            height,
            width,
            top,
            left,
            ..
        } = self.frame;
        if self.frame.is_trivial() || images.is_empty() {
            return images;
        }
        let pitch = self.frame.pitch();
        let full = self.values.chunks_exact_mut(self.frame.full_len());
        for (image, full) in images.chunks_exact(height * width * channels).zip(full) {
            for (row, pixels) in image.chunks_exact(width * channels).enumerate() {
                let start = (top + row) * pitch + left * channels;
                full[start..start + pixels.len()].copy_from_slice(pixels);
            }
        }
        &self.values
    }
}

/// The output pixels of a group of images.
pub(crate) struct Group {
    /// Images in a full group.
    pub samples: usize,
    /// Output pixels per image.
    pub pixels: usize,
    /// Where the taps of each output pixel start in the framed images.
    pub starts: Vec<usize>,
}

impl Group {
    /// For outputs of these sides, whose taps start at row and column `origin` and move by `stride`; at most `samples` images.
    pub(crate) fn new(
        frame: Frame,
        origin: (usize, usize),
        stride: usize,
        (height, width): (usize, usize),
        samples: usize,
    ) -> Self {
        let pixels = height * width;
        let samples = GROUP_PIXELS.div_ceil(pixels.max(1)).min(samples).max(1);
        let mut starts = Vec::with_capacity(samples * pixels);
        for sample in 0..samples {
            for row in 0..height {
                let start = frame.start(sample, origin.0 + row * stride);
                let column = |column| start + (origin.1 + column * stride) * frame.channels;
                starts.extend((0..width).map(column));
            }
        }
        Self {
            samples,
            pixels,
            starts,
        }
    }
}
