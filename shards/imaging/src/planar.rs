//! An image as three planes of bytes, with look-ups that wait for the next pass over the pixels.

use image::{Rgb, RgbImage};

/// What becomes of each value of a channel.
pub(super) type Table = [u8; 256];

/// Three planes one after the other.
fn thirds(samples: &[u8], plane: usize) -> [&[u8]; 3] {
    let (red, rest) = samples.split_at(plane);
    let (green, blue) = rest.split_at(plane);
    [red, green, blue]
}

/// An image in R, G, B, plane by plane. Where look-ups wait, the stored samples are not the image's values yet.
#[derive(Debug, Default)]
pub(super) struct Planar {
    width: usize,
    height: usize,
    samples: Vec<u8>,
    /// Takes what an operation writes while it reads `samples`.
    spare: Vec<u8>,
    /// Takes the image with its channels together.
    packed: Vec<u32>,
    /// Of each channel; never falling, as none of the operations that look up turns dark and light around.
    waiting: Option<Box<[Table; 3]>>,
}

impl Planar {
    /// Sets the size; the samples are to be written before they are read.
    pub(super) fn reset(&mut self, width: usize, height: usize) -> &mut [u8] {
        (self.width, self.height, self.waiting) = (width, height, None);
        self.samples.resize(3 * width * height, 0);
        self.spare.resize(3 * width * height, 0);
        &mut self.samples
    }

    pub(super) fn width(&self) -> usize {
        self.width
    }

    pub(super) fn height(&self) -> usize {
        self.height
    }

    /// The stored samples of the channels, whatever look-up waits.
    pub(super) fn stored(&self) -> [&[u8]; 3] {
        thirds(&self.samples, self.width * self.height)
    }

    /// The look-ups that wait.
    pub(super) fn waiting(&self) -> Option<&[Table; 3]> {
        self.waiting.as_deref()
    }

    /// Adds a look-up behind those that wait.
    pub(super) fn look_up(&mut self, tables: [Table; 3]) {
        match &mut self.waiting {
            None => self.waiting = Some(Box::new(tables)),
            Some(waiting) => {
                for (waiting, table) in waiting.iter_mut().zip(&tables) {
                    for value in waiting.iter_mut() {
                        *value = table[usize::from(*value)];
                    }
                }
            }
        }
    }

    /// The channels' samples, after the look-ups that waited.
    pub(super) fn samples(&mut self) -> [&mut [u8]; 3] {
        let plane = (self.width * self.height).max(1);
        if let Some(tables) = self.waiting.take() {
            for (samples, table) in self.samples.chunks_mut(plane).zip(tables.iter()) {
                for sample in samples {
                    *sample = table[usize::from(*sample)];
                }
            }
        }
        let (red, rest) = self.samples.split_at_mut(self.width * self.height);
        let (green, blue) = rest.split_at_mut(self.width * self.height);
        [red, green, blue]
    }

    /// Redraws every channel: `draw` reads the first slice and writes all of the second. Look-ups take place before.
    #[inline(always)]
    pub(super) fn redraw(&mut self, mut draw: impl FnMut(&[u8], &mut [u8])) {
        self.samples();
        let plane = (self.width * self.height).max(1);
        for (source, target) in self.samples.chunks(plane).zip(self.spare.chunks_mut(plane)) {
            draw(source, target);
        }
        std::mem::swap(&mut self.samples, &mut self.spare);
    }

    /// Redraws all channels together, with room for a packed image; else as [`Self::redraw`].
    #[inline(always)]
    pub(super) fn redraw_packed(&mut self, mut draw: impl FnMut([&[u8]; 3], &mut Vec<u32>, [&mut [u8]; 3])) {
        self.samples();
        let plane = self.width * self.height;
        let (red, rest) = self.spare.split_at_mut(plane);
        let (green, blue) = rest.split_at_mut(plane);
        draw(thirds(&self.samples, plane), &mut self.packed, [red, green, blue]);
        std::mem::swap(&mut self.samples, &mut self.spare);
    }

    /// Rows become columns.
    pub(super) fn transpose(&mut self) {
        let (width, height) = (self.width, self.height);
        self.redraw(|source, target| {
            for (y, row) in source.chunks(width.max(1)).enumerate() {
                for (x, &sample) in row.iter().enumerate() {
                    target[x * height + y] = sample;
                }
            }
        });
        (self.width, self.height) = (height, width);
    }

    /// The image pixel by pixel.
    pub(super) fn pixels(&mut self) -> RgbImage {
        let (width, height) = (self.width, self.height);
        let [red, green, blue] = self.samples();
        RgbImage::from_fn(width as u32, height as u32, |x, y| {
            let at = y as usize * width + x as usize;
            Rgb([red[at], green[at], blue[at]])
        })
    }

    #[cfg(test)]
    pub(super) fn from_rgb(image: &RgbImage) -> Self {
        let mut planar = Self::default();
        let plane = image.width() as usize * image.height() as usize;
        let samples = planar.reset(image.width() as usize, image.height() as usize);
        for (at, pixel) in image.pixels().enumerate() {
            for (channel, value) in pixel.0.into_iter().enumerate() {
                samples[channel * plane + at] = value;
            }
        }
        planar
    }
}
