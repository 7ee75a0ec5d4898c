//! Numbers, spans and vectors in bytes, and the way back, which survives any bytes.

use half::f16;
use half::slice::HalfFloatSliceExt;

use crate::feedback::CharSpan;

/// Kinds of runs of characters with their places in the original.
const ONE_BY_ONE: u64 = 0;
const SAME: u64 = 1;

/// Bytes that grow.
pub(super) struct Packer(pub Vec<u8>);

impl Packer {
    pub fn byte(&mut self, byte: u8) {
        self.0.push(byte);
    }

    pub fn number(&mut self, mut number: u64) {
        while number >= 0x80 {
            self.0.push(number as u8 | 0x80);
            number >>= 7;
        }
        self.0.push(number as u8);
    }

    /// Spans in order: how far each begins from the end of the one before, and its length.
    pub fn spans(&mut self, spans: &[CharSpan]) {
        self.number(spans.len() as u64);
        let mut end = 0;
        for span in spans {
            self.number(u64::from(span.start.saturating_sub(end)));
            self.number(u64::from(span.len()));
            end = span.end;
        }
    }

    /// Places of characters in the original, in runs.
    pub fn origins(&mut self, characters: &[CharSpan]) {
        let mut rest = characters;
        let mut runs = Packer(Vec::new());
        let mut before = 0;
        let mut count = 0;
        while let Some(first) = rest.first().copied() {
            let one_by_one = |(at, span): &(u32, &CharSpan)| span.start == first.start + at && span.len() == 1;
            let stepping = (0u32..).zip(rest).take_while(one_by_one).count();
            let (kind, length) = if stepping > 0 {
                (ONE_BY_ONE, stepping)
            } else {
                (SAME, rest.iter().take_while(|span| **span == first).count())
            };
            // Starts never decrease, so that what lies between two is never negative.
            runs.number(u64::from(first.start.saturating_sub(before)));
            runs.number(((length as u64) << 1) | kind);
            if kind == SAME {
                runs.number(u64::from(first.len()));
            }
            (before, count) = (first.start, count + 1);
            rest = rest.get(length..).unwrap_or_default();
        }
        self.number(count);
        self.0.extend(runs.0);
    }

    pub fn vector(&mut self, vector: Option<&[f32]>) {
        let Some(vector) = vector else { return self.number(0) };
        self.number(vector.len() as u64 + 1);
        let mut rounded = vec![f16::ZERO; vector.len()];
        rounded.convert_from_f32_slice(vector);
        let start = self.0.len();
        self.0.resize(start + 2 * rounded.len(), 0);
        let places = self.0.get_mut(start..).unwrap_or_default().as_chunks_mut().0;
        places.iter_mut().zip(&rounded).for_each(|(place, value)| *place = value.to_le_bytes());
    }
}

/// What is left of the bytes.
pub(super) struct Unpacker<'a>(pub &'a [u8]);

impl Unpacker<'_> {
    pub fn byte(&mut self) -> Option<u8> {
        let (byte, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*byte)
    }

    pub fn number(&mut self) -> Option<u64> {
        let mut number = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            number |= u64::from(byte & 0x7f).checked_shl(shift)?;
            if byte < 0x80 {
                return Some(number);
            }
        }
        None
    }

    fn short(&mut self) -> Option<u32> {
        self.number()?.try_into().ok()
    }

    pub fn spans(&mut self) -> Option<Vec<CharSpan>> {
        let mut end = 0u32;
        let mut spans = Vec::new();
        for _ in 0..self.number()? {
            let start = end.checked_add(self.short()?)?;
            end = start.checked_add(self.short()?)?;
            spans.push(CharSpan::new(start, end));
        }
        Some(spans)
    }

    /// Places of characters; there are not more of them than the text has bytes.
    pub fn origins(&mut self, most: usize) -> Option<Vec<CharSpan>> {
        let mut characters: Vec<CharSpan> = Vec::with_capacity(most.min(self.0.len() * 8));
        let mut before = 0u32;
        for _ in 0..self.number()? {
            let start = before.checked_add(self.short()?)?;
            let length_and_kind = self.number()?;
            let (length, kind) = (u32::try_from(length_and_kind >> 1).ok()?, length_and_kind & 1);
            if characters.len().checked_add(length as usize)? > most {
                return None;
            }
            if kind == SAME {
                let span = CharSpan::new(start, start.checked_add(self.short()?)?);
                characters.extend((0..length).map(|_| span));
            } else {
                start.checked_add(length)?;
                characters.extend((0..length).map(|at| CharSpan::new(start + at, start + at + 1)));
            }
            before = start;
        }
        Some(characters)
    }

    /// `None` if the bytes end; `Some(None)` if there is no vector.
    pub fn vector(&mut self) -> Option<Option<Vec<f32>>> {
        let Some(length) = self.number()?.checked_sub(1) else { return Some(None) };
        let bytes = usize::try_from(length).ok()?.checked_mul(2)?;
        let (head, rest) = self.0.split_at_checked(bytes)?;
        self.0 = rest;
        let (pairs, _) = head.as_chunks::<2>();
        let rounded: Vec<f16> = pairs.iter().map(|pair| f16::from_le_bytes(*pair)).collect();
        Some(Some(rounded.to_f32_vec()))
    }
}
