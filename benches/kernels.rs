//! Products in 8 bits by kernel and shape, with the share that they reach of what the instructions could do in registers alone.
//!
//! `cargo bench --bench kernels`; for a count of instructions, one product and no more:
//! `valgrind --tool=callgrind target/release/deps/kernels-... once avx2 64 384 1536`

use std::hint::black_box;
use std::time::Instant;

use otklik::inference::Kernel;
use otklik::inference::measure::{Product, peak_operations};

/// Measurements, of which the fastest counts.
const RUNS: usize = 60;

/// Inputs and outputs of the default encoder's matrices.
const SHAPES: [(usize, usize); 4] = [(384, 384), (384, 1152), (384, 1536), (1536, 384)];

/// Rows of a short text, of a block, and of a pass.
const ROWS: [usize; 3] = [18, 64, 512];

/// Most operations a second, in thousands of millions.
fn best(mut work: impl FnMut() -> u64) -> f64 {
    let rate = |began: Instant, operations: u64| operations as f64 / began.elapsed().as_secs_f64() / 1e9;
    (0..RUNS)
        .map(|_| {
            let began = Instant::now();
            let operations = work();
            rate(began, operations)
        })
        .fold(0.0, f64::max)
}

/// `once KERNEL ROWS INPUTS OUTPUTS`, if the arguments are so.
fn once() -> Option<()> {
    let arguments: Vec<String> = std::env::args().skip_while(|argument| argument != "once").skip(1).collect();
    let [kernel, shape @ ..] = arguments.as_slice() else { return None };
    let shape: Vec<usize> = shape.iter().filter_map(|number| number.parse().ok()).collect();
    let &[rows, inputs, outputs] = shape.as_slice() else { return None };
    let kernel = kernel.parse::<Kernel>().ok()?.resolve().ok()?;
    let mut product = Product::new(kernel, rows, inputs, outputs)?;
    println!("{kernel}: {} operations, {}", product.operations(), product.run().len());
    Some(())
}

fn main() {
    if once().is_some() {
        return;
    }
    println!("{:<14}{:>6}{:>8}{:>9}{:>12}{:>10}", "kernel", "rows", "inputs", "outputs", "GOP/s", "of peak");
    for kernel in Kernel::available().into_iter().filter(|kernel| ![Kernel::F32, Kernel::Plain].contains(kernel)) {
        let peak = peak_operations(kernel, 1).map(|_| best(|| peak_operations(kernel, 20_000).unwrap_or(0)));
        if let Some(peak) = peak {
            println!("{kernel:<14}{:>23}{peak:>12.0}{:>10}", "in registers", "100 %");
        }
        for (inputs, outputs) in SHAPES {
            for rows in ROWS {
                let Some(mut product) = Product::new(kernel, rows, inputs, outputs) else { continue };
                // Short ones many times, so that the clock has something to measure.
                let times = (64_000_000 / product.operations()).max(1);
                let rate = best(|| {
                    for _ in 0..times {
                        black_box(product.run());
                    }
                    times * product.operations()
                });
                let share = peak.map(|peak| format!("{:.0} %", 100.0 * rate / peak)).unwrap_or_default();
                println!("{kernel:<14}{rows:>6}{inputs:>8}{outputs:>9}{rate:>12.0}{share:>10}");
            }
        }
    }
}
