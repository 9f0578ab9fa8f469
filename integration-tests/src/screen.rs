//! What stands on a screen: the X server writes every pixel to a file, in the format of `xwd`.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, ensure};

/// The file of a screen.
#[derive(Clone, Debug)]
pub(crate) struct Screen(PathBuf);

impl Screen {
    /// The first screen of a server that was told to keep its pixels in this directory.
    pub(crate) fn of(dir: &Path) -> Self {
        Self(dir.join("Xvfb_screen0"))
    }

    /// How many colours stand in a rectangle of whole pixels: left, top, width, height. One means an empty page.
    pub(crate) fn colours(&self, rect: [usize; 4]) -> Result<usize> {
        let bytes = fs::read(&self.0).context("the screen's file")?;
        let field = |n: usize| -> Result<usize> {
            let four = bytes.get(n * 4..n * 4 + 4).context("a screen without a header")?;
            Ok(u32::from_be_bytes(four.try_into()?) as usize)
        };
        let (width, height, bits, row) = (field(4)?, field(5)?, field(11)?, field(12)?);
        ensure!(bits == 32, "a screen with {bits} bits a pixel");
        let first = field(0)? + field(19)? * 12;
        let [left, top, wide, tall] = rect;
        let (right, bottom) = ((left + wide).min(width), (top + tall).min(height));
        let mut colours = BTreeSet::new();
        for y in top..bottom {
            let at = first + y * row;
            let pixels = bytes.get(at + left * 4..at + right * 4).context("a screen that ends early")?;
            // The fourth byte is no colour.
            colours.extend(pixels.chunks_exact(4).map(|p| p.iter().take(3).copied().collect::<Vec<u8>>()));
        }
        Ok(colours.len())
    }
}
