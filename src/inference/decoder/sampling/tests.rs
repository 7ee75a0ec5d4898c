//! Choices against the plain way to make them: sort everything, then filter.

use proptest::prelude::*;

use super::*;

fn sampling(seed: u64) -> Sampling {
    Sampling { temperature: 1.0, seed, ..Sampling::default() }
}

fn choose(sampling: &Sampling, scores: &[f32], mask: Option<&[u32]>) -> u32 {
    Sampler::new(sampling).unwrap().choose_among(&mut scores.to_vec(), mask).unwrap()
}

/// Tokens that may be chosen, by sorting.
fn plain(sampling: &Sampling, scores: &[f32]) -> Vec<u32> {
    let mut sorted: Vec<(f32, u32)> = scores.iter().copied().zip(0..).filter(|(score, _)| score.is_finite()).collect();
    sorted.sort_by(|one, other| other.0.total_cmp(&one.0).then(one.1.cmp(&other.1)));
    if sampling.top_k > 0 {
        sorted.truncate(sampling.top_k);
    }
    let top = f64::from(sorted[0].0);
    let weight = |score: f32| (f64::from(score) - top).exp();
    if sampling.top_p < 1.0 {
        let wanted: f64 = sorted.iter().map(|(score, _)| weight(*score)).sum::<f64>() * f64::from(sampling.top_p);
        let mut sum = 0.0;
        let last = sorted.iter().position(|(score, _)| {
            sum += weight(*score);
            sum >= wanted
        });
        sorted.truncate(last.map_or(sorted.len(), |last| last + 1));
    }
    sorted.retain(|(score, _)| weight(*score) >= f64::from(sampling.min_p));
    sorted.into_iter().map(|(_, token)| token).collect()
}

#[test]
fn what_lies_far_below_the_best_weighs_nothing() {
    assert_eq!((weight(0.0), weight(-88.0), weight(f32::NEG_INFINITY)), (1.0, 0.0, 0.0));
    assert!((weight(-1.0) - 0.367_879_44).abs() < 1e-6);
}

#[test]
fn without_temperature_the_first_of_the_best_is_chosen() {
    let greedy = Sampling::default();
    assert_eq!(choose(&greedy, &[0.0, 3.0, f32::NAN, 3.0, -1.0, f32::INFINITY], None), 1);
    assert_eq!(choose(&greedy, &[0.0, 3.0, 1.0, 3.0], Some(&[0b1101])), 3);
    assert_eq!(choose(&greedy, &[9.0; 40], Some(&[0, 0b10])), 33);
    assert_eq!(choose(&Sampling { top_k: 1, ..sampling(3) }, &[0.0, 0.1], None), 1);
}

#[test]
fn nothing_to_choose_from_is_an_error() {
    for (scores, mask) in
        [(vec![], None), (vec![f32::NAN; 3], None), (vec![1.0; 3], Some(&[0][..])), (vec![1.0; 3], Some(&[]))]
    {
        let error = Sampler::new(&sampling(1)).unwrap().choose_among(&mut scores.clone(), mask).unwrap_err();
        assert!(error.to_string().contains("no token"), "{error}");
    }
}

#[test]
fn settings_out_of_range_are_refused_by_name() {
    let base = Sampling::default();
    for (sampling, field) in [
        (Sampling { temperature: -1.0, ..base }, "sampling.temperature"),
        (Sampling { temperature: f32::NAN, ..base }, "sampling.temperature"),
        (Sampling { top_p: 0.0, ..base }, "sampling.top_p"),
        (Sampling { min_p: 1.1, ..base }, "sampling.min_p"),
        (Sampling { repetition_penalty: 0.0, ..base }, "sampling.repetition_penalty"),
    ] {
        let error = Sampler::new(&sampling).err().unwrap().to_string();
        assert!(error.starts_with(field) && error.contains("must be"), "{error}");
    }
}

#[test]
fn what_was_said_lately_is_said_less() {
    let settings = Sampling { repetition_penalty: 2.0, ..Sampling::default() };
    let mut sampler = Sampler::new(&settings).unwrap();
    let scores = [3.0, 2.0, -1.0];
    let choose = |sampler: &mut Sampler| sampler.choose_among(&mut scores.to_vec(), None).unwrap();
    assert_eq!(choose(&mut sampler), 0);
    sampler.commit(0);
    sampler.commit(0);
    assert_eq!(choose(&mut sampler), 1);
    for _ in 0..REMEMBERED {
        sampler.commit(9);
    }
    assert_eq!(choose(&mut sampler), 0);
    // A negative score gets worse, not better.
    let mut negative = Sampler::new(&settings).unwrap();
    negative.commit(0);
    assert_eq!(negative.choose_among(&mut [-1.0, -1.5], None).unwrap(), 1);
}

#[test]
fn tokens_are_drawn_as_often_as_they_are_probable() {
    let scores: Vec<f32> = [0.5_f32, 0.3, 0.2].iter().map(|share| share.ln()).collect();
    for (settings, expected) in [
        (sampling(1), [0.5, 0.3, 0.2]),
        (Sampling { top_k: 2, ..sampling(2) }, [0.625, 0.375, 0.0]),
        (Sampling { top_p: 0.7, ..sampling(3) }, [0.625, 0.375, 0.0]),
        (Sampling { min_p: 0.5, ..sampling(4) }, [0.625, 0.375, 0.0]),
        (Sampling { temperature: 0.5, ..sampling(5) }, [0.658, 0.237, 0.105]),
    ] {
        let mut sampler = Sampler::new(&settings).unwrap();
        let mut counts = [0.0; 3];
        for _ in 0..20_000 {
            counts[sampler.choose_among(&mut scores.clone(), None).unwrap() as usize] += 1.0 / 20_000.0;
        }
        for (count, expected) in counts.iter().zip(expected) {
            let distance: f64 = count - expected;
            assert!(distance.abs() < 0.015, "{counts:?} {settings:?}");
        }
    }
}

#[test]
fn what_may_not_come_is_never_drawn() {
    let scores: Vec<f32> = (0..3_000).map(|token| (token % 7) as f32).collect();
    let mask: Vec<u32> = (0..94).map(|word| if word % 5 == 3 { 0x8000_0010 } else { 0 }).collect();
    let mut sampler = Sampler::new(&Sampling { temperature: 50.0, ..sampling(11) }).unwrap();
    for _ in 0..3_000 {
        let token = sampler.choose_among(&mut scores.clone(), Some(&mask)).unwrap();
        assert_eq!(mask[token as usize / 32] >> (token % 32) & 1, 1, "{token}");
    }
}

proptest! {
    #[test]
    fn the_kept_are_those_that_sorting_keeps(
        scores in prop::collection::vec(prop_oneof![-20.0_f32..20.0, Just(1.5_f32), Just(f32::NEG_INFINITY)], 1..300),
        top_k in prop_oneof![Just(0_usize), 1_usize..40],
        top_p in prop_oneof![Just(1.0_f32), 0.05_f32..0.999],
        min_p in prop_oneof![Just(0.0_f32), 0.001_f32..0.9],
        seed: u64,
    ) {
        prop_assume!(scores.iter().any(|score| score.is_finite()));
        let settings = Sampling { top_k, top_p, min_p, ..sampling(seed) };
        let chosen = choose(&settings, &scores, None);
        prop_assert_eq!(chosen, choose(&settings, &scores, None), "the same seed");
        // Sums in another order may move a limit by one token, so the limits are a little wider here.
        let wider = Sampling { top_p: (top_p * 1.000_01).min(1.0), min_p: min_p * 0.999_9, ..settings };
        prop_assert!(plain(&wider, &scores).contains(&chosen));
    }

    #[test]
    fn the_best_are_those_that_sorting_gives(
        scores in prop::collection::vec(prop_oneof![-60.0_f32..20.0, Just(1.5_f32), Just(f32::NEG_INFINITY)], 1..300),
        count in 1_usize..50,
    ) {
        prop_assume!(scores.iter().any(|score| score.is_finite()));
        let mut walked = scores.clone();
        let found: Vec<u32> = Survey::new(&mut walked).unwrap().best(count).into_iter().map(|scored| scored.token).collect();
        prop_assert_eq!(found, plain(&Sampling { top_k: count, ..sampling(0) }, &scores));
    }

    #[test]
    fn a_share_is_the_fewest_that_have_it(
        // Steep ones, and flat ones that take many tokens.
        scores in prop_oneof![
            prop::collection::vec(-20.0_f32..20.0, 1..300),
            prop::collection::vec(-0.5_f32..0.5, 1_200..3_000),
        ],
        share in 0.05_f32..0.99,
    ) {
        let mut walked = scores.clone();
        let mut found: Vec<u32> = Survey::new(&mut walked).unwrap().heaviest(share).into_iter().map(|scored| scored.token).collect();
        found.sort_unstable();
        let sorted = |share: f32| {
            let mut tokens = plain(&Sampling { top_p: share, ..sampling(0) }, &scores);
            tokens.sort_unstable();
            tokens
        };
        prop_assert!(found == sorted(share) || found == sorted(share * 1.000_01) || found == sorted(share * 0.999_99));
    }
}
