//! Weights in groups, laid out as the kernels read them.

use half::f16;
use rayon::iter::{IndexedParallelIterator, IntoParallelRefMutIterator, ParallelIterator};
use rayon::slice::ParallelSliceMut;

use super::{DEPTH, GROUP, Line, PANEL};
use crate::inference::kernels::vectorise::vectorised;

/// Bits of a weight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum GroupWidth {
    /// 0 to 15, times the group's scale, less what the group takes off.
    Four,
    /// 0 to 255, less 128, times the group's scale.
    Eight,
}

impl GroupWidth {
    /// Lines of a group of a panel.
    pub(super) fn lines(self) -> usize {
        match self {
            Self::Four => GROUP / DEPTH / 2,
            Self::Eight => GROUP / DEPTH,
        }
    }
}

/// A group of weights of 4 bits: number `n` stands for `scale * n - low`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct QuarterGroup {
    pub numbers: [u8; GROUP],
    pub scale: f32,
    pub low: f32,
}

/// A matrix `[outputs, inputs]`.
#[derive(Debug)]
pub(crate) struct GroupedMatrix {
    inputs: usize,
    outputs: usize,
    width: GroupWidth,
    /// Panel by panel, group by group. A line holds [`DEPTH`] inputs of each output; in 4 bits those of the low halves, and behind
    /// them in the high halves the next ones.
    lines: Vec<Line>,
    /// Panel by panel, group by group, the bits of a 16-bit scale an output.
    factors: Vec<u16>,
    lows: Vec<u16>,
}

/// The weights of [`PANEL`] outputs, to be filled.
struct Panel<'a> {
    width: GroupWidth,
    lines: &'a mut [Line],
    factors: &'a mut [u16],
    lows: &'a mut [u16],
}

impl Panel<'_> {
    fn set_scales(&mut self, lane: usize, group: usize, scale: f32, low: f32) {
        for (values, value) in [(&mut *self.factors, scale), (&mut *self.lows, low)] {
            if let Some(place) = values.get_mut(group * PANEL + lane) {
                *place = f16::from_f32(value).to_bits();
            }
        }
    }

    fn group(&mut self, group: usize) -> &mut [Line] {
        let count = self.width.lines();
        self.lines.get_mut(group * count..(group + 1) * count).unwrap_or_default()
    }

    fn set_quarters(&mut self, lane: usize, number: usize, group: QuarterGroup) {
        self.set_scales(lane, number, group.scale, group.low);
        let pairs = group.numbers.as_chunks::<{ 2 * DEPTH }>().0;
        for (line, pair) in self.group(number).iter_mut().zip(pairs) {
            let (low, high) = pair.split_at(DEPTH);
            let places = line.0.get_mut(lane * DEPTH..(lane + 1) * DEPTH).unwrap_or_default();
            let halves = low.iter().zip(high).map(|(low, high)| (low & 15) | (high << 4));
            places.iter_mut().zip(halves).for_each(|(place, both)| *place = both);
        }
    }

    fn set_floats(&mut self, lane: usize, number: usize, weights: &[f32; GROUP]) {
        let (scale, numbers) = eights(weights);
        self.set_scales(lane, number, scale, 0.0);
        for (line, numbers) in self.group(number).iter_mut().zip(numbers.as_chunks::<DEPTH>().0) {
            if let Some(places) = line.0.get_mut(lane * DEPTH..(lane + 1) * DEPTH) {
                places.copy_from_slice(numbers);
            }
        }
    }
}

/// A group in 8 bits: its scale, and the numbers, 128 added.
#[inline(always)]
fn eights(weights: &[f32; GROUP]) -> (f32, [u8; GROUP]) {
    /// Adding it rounds to a whole number and leaves that number in the low bits.
    const ROUND: f32 = 12_582_912.0;
    let largest = weights.iter().fold(0.0f32, |largest, weight| largest.max(weight.abs()));
    // The scale that is kept is the one that weights are rounded by.
    let scale = f16::from_f32(largest / 127.0).to_f32();
    let inverse = if scale > 0.0 { 1.0 / scale } else { 0.0 };
    let number = |weight: f32| ((weight * inverse).clamp(-127.0, 127.0) + ROUND).to_bits() as u8 ^ 128;
    (scale, weights.map(number))
}

impl GroupedMatrix {
    /// Outputs that are multiplied together.
    pub const PANEL: usize = PANEL;

    /// Filled panel by panel, side by side on the threads at hand: `fill` gets a panel, an output, and the output's place in it.
    fn filled<E: Send>(
        inputs: usize,
        outputs: usize,
        width: GroupWidth,
        fill: impl Fn(&mut Panel<'_>, usize, usize) -> Result<(), E> + Sync,
    ) -> Result<Self, E> {
        let (groups, panels) = (inputs.div_ceil(GROUP), outputs.div_ceil(PANEL));
        let lows = if width == GroupWidth::Four { groups * PANEL } else { 0 };
        let mut matrix = Self {
            inputs,
            outputs,
            width,
            lines: vec![Line([0; PANEL * DEPTH]); panels * groups * width.lines()],
            factors: vec![0; panels * groups * PANEL],
            lows: vec![0; panels * lows],
        };
        let mut of_lows: Vec<&mut [u16]> = match lows {
            0 => (0..panels).map(|_| Default::default()).collect(),
            _ => matrix.lows.chunks_mut(lows).collect(),
        };
        let lines = matrix.lines.par_chunks_mut((groups * width.lines()).max(1));
        let factors = matrix.factors.par_chunks_mut((groups * PANEL).max(1));
        let parts = lines.zip(factors).zip(of_lows.par_iter_mut()).enumerate();
        parts.try_for_each(|(panel, ((lines, factors), lows))| {
            let first = panel * PANEL;
            let mut panel = Panel { width, lines, factors, lows };
            (first..outputs.min(first + PANEL)).try_for_each(|output| fill(&mut panel, output, output - first))
        })?;
        Ok(matrix)
    }

    /// Of groups of 4 bits: `of` gives those of an output.
    pub fn of_quarters<E: Send, I: Iterator<Item = QuarterGroup>>(
        inputs: usize,
        outputs: usize,
        of: impl Fn(usize) -> Result<I, E> + Sync,
    ) -> Result<Self, E> {
        Self::filled(inputs, outputs, GroupWidth::Four, |panel, output, lane| {
            of(output)?.enumerate().for_each(|(number, group)| panel.set_quarters(lane, number, group));
            Ok(())
        })
    }

    /// Of weights in 32 bits, rounded to 8: `of` writes those of an output.
    pub fn of_floats<E: Send>(
        inputs: usize,
        outputs: usize,
        of: impl Fn(usize, &mut [f32]) -> Result<(), E> + Sync,
    ) -> Result<Self, E> {
        Self::filled(inputs, outputs, GroupWidth::Eight, |panel, output, lane| {
            // Behind the last weight stand zeros up to a whole group.
            let mut weights = vec![0.0; inputs.next_multiple_of(GROUP)];
            of(output, weights.get_mut(..inputs).unwrap_or_default())?;
            vectorised(
                #[inline(always)]
                || {
                    let groups = weights.as_chunks().0.iter().enumerate();
                    groups.for_each(|(number, weights)| panel.set_floats(lane, number, weights));
                },
            );
            Ok(())
        })
    }

    pub fn inputs(&self) -> usize {
        self.inputs
    }

    pub fn outputs(&self) -> usize {
        self.outputs
    }

    /// Panels; the last one may reach beyond the last output.
    pub fn panels(&self) -> usize {
        self.outputs.div_ceil(PANEL)
    }

    /// The weights of one output, in 32 bits.
    pub fn output(&self, output: usize, into: &mut [f32]) {
        let (panel, lane) = (output / PANEL, output % PANEL);
        let value = |values: &[u16], at: usize| values.get(at).map_or(0.0, |bits| f16::from_bits(*bits).to_f32());
        for (group, into) in into.chunks_mut(GROUP).enumerate() {
            let at = (panel * self.groups() + group) * PANEL + lane;
            let (scale, low) = (value(&self.factors, at), value(&self.lows, at));
            let start = (panel * self.groups() + group) * self.width.lines();
            let lines = self.lines.get(start..start + self.width.lines()).unwrap_or_default();
            for (input, into) in into.iter_mut().enumerate() {
                let (line, byte, is_high) = match self.width {
                    GroupWidth::Four => (input / (2 * DEPTH), input % DEPTH, input / DEPTH % 2 == 1),
                    GroupWidth::Eight => (input / DEPTH, input % DEPTH, false),
                };
                let byte = lines.get(line).and_then(|line| line.0.get(lane * DEPTH + byte)).copied().unwrap_or(0);
                *into = match self.width {
                    GroupWidth::Four => scale * f32::from(if is_high { byte >> 4 } else { byte & 15 }) - low,
                    GroupWidth::Eight => scale * (f32::from(byte) - 128.0),
                };
            }
        }
    }

    pub(super) fn groups(&self) -> usize {
        self.inputs.div_ceil(GROUP)
    }

    pub(super) fn width(&self) -> GroupWidth {
        self.width
    }

    pub(super) fn lines(&self, panel: usize) -> &[Line] {
        self.lines.get(panel * self.groups() * self.width.lines()..).unwrap_or_default()
    }

    pub(super) fn factors(&self, panel: usize) -> &[u16] {
        self.factors.get(panel * self.groups() * PANEL..).unwrap_or_default()
    }

    pub(super) fn lows(&self, panel: usize) -> &[u16] {
        self.lows.get(panel * self.groups() * PANEL..).unwrap_or_default()
    }
}
