//! Medians, and how sure a ratio is.

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
    /// The 95 % interval of the mean: Student's, on the logarithms, since ratios multiply.
    pub interval: (f64, f64),
}

impl Ratio {
    pub fn of(above: &[f64], below: &[f64]) -> Self {
        let pairs = above.iter().zip(below).filter(|(a, b)| **a > 0.0 && **b > 0.0);
        let rounds: Vec<f64> = pairs.map(|(a, b)| a / b).collect();
        let n = rounds.len() as f64;
        let logs: Vec<f64> = rounds.iter().map(|ratio| ratio.ln()).collect();
        let mean = logs.iter().sum::<f64>() / n;
        let variance = logs.iter().map(|log| (log - mean).powi(2)).sum::<f64>() / (n - 1.0);
        let half = student(rounds.len()) * (variance / n).sqrt();
        let interval = ((mean - half).exp(), (mean + half).exp());
        Self { median: median(&rounds), rounds, interval }
    }
}

/// The 97.5 % point of Student's t for so many rounds.
fn student(rounds: usize) -> f64 {
    const POINTS: [f64; 14] = [
        12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160,
        2.145,
    ];
    match rounds {
        0 | 1 => f64::NAN,
        _ => POINTS.get(rounds - 2).copied().unwrap_or(2.1),
    }
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
    fn the_interval_is_that_of_student() {
        // Logarithms -1, 0, 1: mean 0, deviation 1, so ±4.303 / √3.
        let e = std::f64::consts::E;
        let ratio = Ratio::of(&[1.0 / e, 1.0, e], &[1.0; 3]);
        assert!((ratio.interval.1.ln() - 4.303 / 3_f64.sqrt()).abs() < 1e-9);
        assert!((ratio.interval.0.ln() + 4.303 / 3_f64.sqrt()).abs() < 1e-9);
    }

    #[test]
    fn the_geometric_mean_multiplies() {
        assert!((geometric_mean(&[1.0, 4.0]) - 2.0).abs() < 1e-9);
    }
}
