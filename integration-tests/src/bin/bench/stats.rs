//! Several measurements of one thing, and what they say together.

/// Measurements of one thing, in one unit; never empty.
#[derive(Debug, Clone)]
pub(crate) struct Sample {
    sorted: Vec<f64>,
}

impl Sample {
    /// # Panics
    /// If there is no measurement, or one is no number: then the bench itself is wrong.
    pub(crate) fn of(values: impl IntoIterator<Item = f64>) -> Self {
        let mut sorted: Vec<f64> = values.into_iter().collect();
        assert!(!sorted.is_empty() && sorted.iter().all(|value| value.is_finite()), "no sample: {sorted:?}");
        sorted.sort_by(f64::total_cmp);
        Self { sorted }
    }

    pub(crate) fn one(value: f64) -> Self {
        Self::of([value])
    }

    pub(crate) fn median(&self) -> f64 {
        let (upper, count) = (self.sorted.len() / 2, self.sorted.len());
        if count % 2 == 1 {
            self.sorted[upper]
        } else {
            f64::midpoint(self.sorted[upper - 1], self.sorted[upper])
        }
    }

    /// The smallest measurement that is not below so many of a hundred: of fewer than a hundred, p99 is the largest.
    pub(crate) fn percentile(&self, percent: usize) -> f64 {
        let rank = (self.sorted.len() * percent).div_ceil(100).max(1);
        self.sorted[rank - 1]
    }

    pub(crate) fn min(&self) -> f64 {
        self.sorted[0]
    }

    pub(crate) fn max(&self) -> f64 {
        self.sorted[self.sorted.len() - 1]
    }

    pub(crate) fn count(&self) -> usize {
        self.sorted.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_median_is_in_the_middle_and_a_percentile_is_a_measurement() {
        assert_eq!(Sample::of([3.0, 1.0, 2.0]).median(), 2.0);
        assert_eq!(Sample::of([4.0, 1.0, 2.0, 3.0]).median(), 2.5);
        let hundred = Sample::of((1..=100).map(f64::from));
        assert_eq!([1, 50, 99, 100].map(|percent| hundred.percentile(percent)), [1.0, 50.0, 99.0, 100.0]);
        let few = Sample::of([5.0, 7.0]);
        assert_eq!((few.percentile(50), few.percentile(99)), (5.0, 7.0));
        assert_eq!((few.min(), few.max(), few.count()), (5.0, 7.0, 2));
    }
}
