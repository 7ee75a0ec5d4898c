//! Colours of the pictures.
//!
//! A picture names each colour by its light shade; the page's style sheet finds the shades by name and puts others in their
//! place where the reader's screen is dark.

use plotters::style::text_anchor::{HPos, Pos, VPos};
use plotters::style::{Color, FontTransform, IntoFont, RGBColor, TextStyle};
use serde::Serialize;

/// Text and what is as important.
pub(super) const INK: RGBColor = RGBColor(0x1f, 0x23, 0x28);
/// Text of less weight.
pub(super) const MUTED: RGBColor = RGBColor(0x59, 0x63, 0x6e);
/// Axes and lines of orientation.
pub(super) const GRID: RGBColor = RGBColor(0xd1, 0xd9, 0xe0);
/// What is right, and what was measured.
pub(super) const RIGHT: RGBColor = RGBColor(0x09, 0x69, 0xda);
/// What is wrong, and what was wanted.
pub(super) const WRONG: RGBColor = RGBColor(0xcf, 0x22, 0x2e);
/// Text on a full colour.
pub(super) const ON_FULL: RGBColor = RGBColor(0xff, 0xff, 0xfe);

/// The colours as they are written in a picture.
#[derive(Serialize)]
pub(super) struct Names {
    ink: String,
    muted: String,
    grid: String,
    right: String,
    wrong: String,
    on_full: String,
}

pub(super) fn names() -> Names {
    let name = |RGBColor(red, green, blue): RGBColor| format!("#{red:02X}{green:02X}{blue:02X}");
    Names {
        ink: name(INK),
        muted: name(MUTED),
        grid: name(GRID),
        right: name(RIGHT),
        wrong: name(WRONG),
        on_full: name(ON_FULL),
    }
}

/// Text of this height in pixels, set at a point by the given place of itself.
pub(super) fn font(pixels: f64, colour: RGBColor, horizontal: HPos, vertical: VPos) -> TextStyle<'static> {
    // The SVG backend divides sizes by this number.
    let size = pixels * 1.24;
    ("sans-serif", size).into_font().color(&colour.to_rgba()).pos(Pos::new(horizontal, vertical))
}

/// The same, to be read upwards.
pub(super) fn upwards(style: TextStyle<'static>) -> TextStyle<'static> {
    TextStyle { font: style.font.transform(FontTransform::Rotate270), ..style }
}
