//! Products of matrices of 32-bit numbers that are rounded to 16 bits (bfloat16) on the way in and added up in 32 bits.

#[cfg(target_arch = "x86_64")]
use super::amx;
#[cfg(target_arch = "x86_64")]
use super::tiles::Tiles;

/// Rows of numbers in memory.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Operand<'a> {
    /// From the first number of the first row on.
    values: &'a [f32],
    /// Numbers from one row to the next.
    stride: usize,
    columns: usize,
    turned: bool,
}

impl<'a> Operand<'a> {
    /// `values` in rows of `columns`, one behind the other.
    pub fn new(values: &'a [f32], columns: usize) -> Self {
        Self::part(values, columns, 0, columns)
    }

    /// Of rows of `stride` numbers, the `columns` from `start` on.
    pub fn part(values: &'a [f32], stride: usize, start: usize, columns: usize) -> Self {
        let whole = start + columns <= stride;
        let values = if whole { values.get(start..).unwrap_or_default() } else { &[] };
        Self { values, stride, columns, turned: false }
    }

    /// The transposed matrix.
    pub fn turned(self) -> Self {
        Self { turned: !self.turned, ..self }
    }

    pub(super) fn values(self) -> &'a [f32] {
        self.values
    }

    pub(super) fn stride(self) -> usize {
        self.stride
    }

    pub(super) fn is_turned(self) -> bool {
        self.turned
    }

    /// Rows and columns, as a factor of the product.
    pub fn shape(self) -> (usize, usize) {
        let behind = self.values.len().checked_sub(self.columns);
        let rows = behind.map_or(0, |behind| behind.checked_div(self.stride).map_or(0, |rows| rows + 1));
        if self.turned { (self.columns, rows) } else { (rows, self.columns) }
    }
}

/// Memory that products on one thread use again and again.
#[derive(Default)]
pub(crate) struct Room(#[cfg(target_arch = "x86_64")] amx::Room);

/// A processor that multiplies 16-bit numbers several times as fast as those of 32.
#[derive(Debug, Clone, Copy)]
pub(crate) struct HalfProducts(
    #[cfg(target_arch = "x86_64")] Tiles,
    #[cfg(not(target_arch = "x86_64"))] std::convert::Infallible,
);

impl HalfProducts {
    /// `None` on a processor that does not.
    pub fn get() -> Option<Self> {
        #[cfg(target_arch = "x86_64")]
        return Tiles::of_halves().map(Self);
        #[cfg(not(target_arch = "x86_64"))]
        None
    }

    /// `left · right`, row by row, on the threads of the pool that calls. Inner dimensions that differ end at the shorter one. The
    /// numbers do not depend on how many threads there are.
    pub fn multiply(self, left: Operand<'_>, right: Operand<'_>) -> Vec<f32> {
        #[cfg(target_arch = "x86_64")]
        return amx::multiply(self.0, left, right);
        #[cfg(not(target_arch = "x86_64"))]
        match self.0 {}
    }

    /// The same on this thread alone, into `product`: for small matrices.
    pub fn multiply_here(self, left: Operand<'_>, right: Operand<'_>, room: &mut Room, product: &mut Vec<f32>) {
        #[cfg(target_arch = "x86_64")]
        amx::multiply_here(self.0, left, right, &mut room.0, product);
        #[cfg(not(target_arch = "x86_64"))]
        match (self.0, left, right, room, product) {}
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// To the nearest number of 16 bits, of two equally near ones to the even one.
    fn rounded(value: f32) -> f64 {
        let bits = value.to_bits();
        f64::from(f32::from_bits(bits.wrapping_add(0x7fff + ((bits >> 16) & 1)) & 0xffff_0000))
    }

    fn plain(left: Operand<'_>, right: Operand<'_>) -> Vec<(f64, f64)> {
        let at = |operand: Operand<'_>, row: usize, column: usize| {
            let (row, column) = if operand.turned { (column, row) } else { (row, column) };
            rounded(operand.values[row * operand.stride + column])
        };
        let ((rows, inner), (_, columns)) = (left.shape(), right.shape());
        let mut product = Vec::new();
        for row in 0..rows {
            for column in 0..columns {
                let terms = (0..inner).map(|index| at(left, row, index) * at(right, index, column));
                product.push(terms.fold((0.0, 0.0), |(sum, size), term| (sum + term, size + term.abs())));
            }
        }
        product
    }

    fn check(left: Operand<'_>, right: Operand<'_>) {
        let Some(products) = HalfProducts::get() else { return };
        let given = products.multiply(left, right);
        let expected = plain(left, right);
        assert_eq!(given.len(), expected.len());
        let (mut room, mut here) = (Room::default(), vec![7.0; 5]);
        for _ in 0..2 {
            products.multiply_here(left, right, &mut room, &mut here);
            assert_eq!(here, given);
        }
        for (place, (given, (expected, size))) in given.iter().zip(expected).enumerate() {
            let allowed = size * f64::from(f32::EPSILON) * 40.0 + 1e-30;
            assert!((f64::from(*given) - expected).abs() <= allowed, "{place}: {given} and {expected}");
        }
    }

    fn noise(seed: u32, count: usize, size: f32) -> Vec<f32> {
        let mut state = seed | 1;
        let mut next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            ((state >> 8) as f32 / (1 << 23) as f32 - 1.0) * size
        };
        (0..count).map(|_| next()).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]
        #[test]
        fn products_of_any_shape_are_those_of_plain_sums(
            (rows, columns, inner) in (1usize..80, 1usize..80, 1usize..700),
            (one, other) in (any::<bool>(), any::<bool>()),
            size in prop_oneof![Just(1.0f32), Just(1e-12), Just(1e12), Just(0.0)],
            seed in any::<u32>(),
        ) {
            let (left, right) = (noise(seed, rows * inner, size), noise(seed ^ 77, inner * columns, 1.0));
            let left = if one { Operand::new(&left, rows).turned() } else { Operand::new(&left, inner) };
            let right = if other { Operand::new(&right, inner).turned() } else { Operand::new(&right, columns) };
            check(left, right);
        }
    }

    #[test]
    fn one_row_nothing_and_more_rows_than_a_task_takes_are_right() {
        for (rows, columns, inner) in [(1, 384, 384), (1, 1, 1), (700, 33, 40), (31, 1, 1025)] {
            let (left, right) = (noise(5, rows * inner, 1.0), noise(6, inner * columns, 1.0));
            check(Operand::new(&left, inner), Operand::new(&right, columns));
        }
        let Some(products) = HalfProducts::get() else { return };
        assert!(products.multiply(Operand::new(&[], 3), Operand::new(&[1.0; 3], 1)).is_empty());
        assert_eq!(products.multiply(Operand::new(&[], 1).turned(), Operand::new(&[], 2)), [0.0; 2]);
    }

    #[test]
    fn parts_of_rows_are_read_where_they_lie() {
        let (left, right) = (noise(8, 45 * 40, 1.0), noise(9, 45 * 50, 1.0));
        let part = |values: &[f32], stride: usize, start: usize, columns: usize| -> Vec<f32> {
            values.chunks(stride).flat_map(|row| row[start..start + columns].to_vec()).collect()
        };
        let Some(products) = HalfProducts::get() else { return };
        for (start, columns) in [(0, 40), (3, 7), (8, 32), (39, 1)] {
            let one = Operand::part(&left, 40, start, columns).turned();
            let other = Operand::part(&right, 50, 11, 33);
            check(one, other);
            let (copy, right) = (part(&left, 40, start, columns), part(&right, 50, 11, 33));
            let copied = products.multiply(Operand::new(&copy, columns).turned(), Operand::new(&right, 33));
            assert_eq!(products.multiply(one, other), copied);
        }
        assert_eq!(Operand::part(&left, 40, 30, 11).shape(), (0, 11));
    }

    #[test]
    fn the_product_does_not_depend_on_the_number_of_threads() {
        let Some(products) = HalfProducts::get() else { return };
        let (left, right) = (noise(1, 333 * 1000, 1.0), noise(2, 1000 * 77, 1.0));
        let with = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| products.multiply(Operand::new(&left, 1000), Operand::new(&right, 77)))
        };
        assert_eq!(with(1), with(3));
    }
}
