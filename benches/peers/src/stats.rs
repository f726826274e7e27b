//! Medians, and how sure a ratio is: by the order of the rounds alone, as some are outliers.

pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    match sorted.len() {
        0 => f64::NAN,
        n if n % 2 == 1 => sorted[n / 2],
        n => (sorted[n / 2 - 1] + sorted[n / 2]) / 2.0,
    }
}

/// A ratio of two things measured side by side, round by round: the rounds in which both are there.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Ratio {
    pub rounds: Vec<f64>,
    pub median: f64,
    /// The 95 % interval of that median, whatever the ratios' distribution; all of them, where
    /// there are fewer than six.
    pub interval: (f64, f64),
}

impl Ratio {
    pub fn of(above: &[f64], below: &[f64]) -> Self {
        let pairs = above.iter().zip(below).filter(|(a, b)| **a > 0.0 && **b > 0.0);
        let rounds: Vec<f64> = pairs.map(|(a, b)| a / b).collect();
        let mut sorted = rounds.clone();
        sorted.sort_by(f64::total_cmp);
        let beyond = beyond(sorted.len());
        let interval = match sorted.len() {
            0 => (f64::NAN, f64::NAN),
            n => (sorted[beyond], sorted[n - 1 - beyond]),
        };
        Self { median: median(&rounds), rounds, interval }
    }
}

/// How many of the lowest, and of the highest, lie outside: as many as leave the true median
/// between the others in 95 of 100 runs. (So many rounds fall below it as coins show heads.)
fn beyond(rounds: usize) -> usize {
    let mut chance = 0.5_f64.powi(rounds as i32);
    let mut below = chance;
    let mut outside = 0;
    while outside < rounds / 2 && below <= 0.025 {
        outside += 1;
        chance *= (rounds - outside + 1) as f64 / outside as f64;
        below += chance;
    }
    outside.saturating_sub(1)
}

pub fn geometric_mean(values: &[f64]) -> f64 {
    (values.iter().map(|value| value.ln()).sum::<f64>() / values.len() as f64).exp()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_one_in_the_middle() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), 2.5);
        assert!(median(&[]).is_nan());
    }

    #[test]
    fn a_ratio_is_taken_round_by_round() {
        // The machine got three times slower between rounds; the ratio does not care.
        let ratio = Ratio::of(&[2.0, 6.0, 4.0], &[1.0, 3.0, 2.0]);
        assert_eq!(ratio.median, 2.0);
        assert!((ratio.interval.0 - 2.0).abs() < 1e-9 && (ratio.interval.1 - 2.0).abs() < 1e-9);
    }

    #[test]
    fn the_interval_has_the_median_within() {
        let rounds: Vec<f64> = (1..=30).map(f64::from).collect();
        let ratio = Ratio::of(&rounds, &[1.0; 30]);
        assert_eq!((ratio.interval, ratio.median), ((10.0, 21.0), 15.5)); // as tables have it
        assert_eq!([1, 5, 6, 8, 9, 15, 25].map(beyond), [0, 0, 0, 0, 1, 3, 7]);
        let skewed = Ratio::of(&[1.0, 1.0, 1.0, 1.0, 9.0], &[1.0; 5]);
        assert_eq!((skewed.interval, skewed.median), ((1.0, 9.0), 1.0));
    }

    #[test]
    fn the_geometric_mean_multiplies() {
        assert!((geometric_mean(&[1.0, 4.0]) - 2.0).abs() < 1e-9);
    }
}
