//! From figures to places on an axis.

/// How far apart ticks of a linear axis are at least, as a share of it.
const TICK_SHARE_MIN: f64 = 0.16;
/// From this ratio of the largest to the least figure on, a logarithmic axis shows more than a linear one.
const LOG_RATIO_MIN: f64 = 20.0;

/// An axis.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Scale {
    /// The figures at its ends. Invariant: `min < max`, and both above 0 if it is logarithmic.
    pub min: f64,
    /// See `min`.
    pub max: f64,
    is_log: bool,
    // Where its ends are drawn.
    from_px: f64,
    to_px: f64,
}

impl Scale {
    /// A linear axis from `min` to `max`, as they are.
    pub fn exact(min: f64, max: f64, from_px: f64, to_px: f64) -> Scale {
        Scale { min, max: if max > min { max } else { min + 1.0 }, is_log: false, from_px, to_px }
    }

    /// A linear axis from 0 to a tick above `max`.
    pub fn linear(max: f64, from_px: f64, to_px: f64) -> Scale {
        let scale = Scale::exact(0.0, max * 1.04, from_px, to_px);
        let step = scale.step();
        Scale { max: (scale.max / step).ceil() * step, ..scale }
    }

    /// A logarithmic axis if the figures need one, else a linear one. Figures that are not above 0 are passed over.
    pub fn fitting(figures: impl Iterator<Item = f64>, from_px: f64, to_px: f64) -> Scale {
        let (mut min, mut max) = (f64::INFINITY, 0.0f64);
        for figure in figures.filter(|figure| *figure > 0.0) {
            (min, max) = (min.min(figure), max.max(figure));
        }
        if max < min * LOG_RATIO_MIN {
            return Scale::linear(max, from_px, to_px);
        }
        let decade = |figure: f64| 10f64.powf(figure.log10().floor());
        let below = [5.0, 2.0, 1.0].into_iter().map(|digit| digit * decade(min)).find(|tick| *tick <= min);
        let above = [2.0, 5.0, 10.0].into_iter().map(|digit| digit * decade(max)).find(|tick| *tick >= max);
        let (min, max) = (below.unwrap_or(min), above.unwrap_or(max));
        Scale { min, max, is_log: true, from_px, to_px }
    }

    /// Where a figure is drawn; what lies outside is drawn at the end.
    pub fn at(&self, figure: f64) -> f64 {
        let share = if self.is_log {
            (figure.max(self.min) / self.min).log10() / (self.max / self.min).log10()
        } else {
            (figure - self.min) / (self.max - self.min)
        };
        self.from_px + share.clamp(0.0, 1.0) * (self.to_px - self.from_px)
    }

    /// Figures to write beside the axis.
    pub fn ticks(&self) -> Vec<f64> {
        if !self.is_log {
            let step = self.step();
            let first = (self.min / step).ceil() as i64;
            return (first..)
                .map(|idx| idx as f64 * step)
                .take_while(|tick| *tick <= self.max + step * 1e-6)
                .collect();
        }
        let decades = (self.max / self.min).log10();
        let digits: &[f64] = if decades > 3.5 { &[1.0] } else { &[1.0, 2.0, 5.0] };
        let (first, last) = (self.min.log10().floor() as i32, self.max.log10().ceil() as i32);
        let all = (first..=last).flat_map(|power| digits.iter().map(move |digit| digit * 10f64.powi(power)));
        all.filter(|tick| (self.min * 0.999..=self.max * 1.001).contains(tick)).collect()
    }

    /// The distance of ticks: 1, 2 or 5 times a power of ten.
    fn step(&self) -> f64 {
        let least = (self.max - self.min) * TICK_SHARE_MIN;
        let power = 10f64.powf(least.log10().floor());
        let step = [1.0, 2.0, 5.0].into_iter().map(|digit| digit * power).find(|step| *step >= least * 0.999);
        step.unwrap_or(10.0 * power)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn linear_axes_begin_at_0_and_have_round_ticks() {
        let scale = Scale::linear(83_120.0, 100.0, 0.0);
        assert_eq!(scale.ticks(), [0.0, 20_000.0, 40_000.0, 60_000.0, 80_000.0, 100_000.0]);
        assert_eq!((scale.at(0.0), scale.at(50_000.0), scale.at(1e9)), (100.0, 50.0, 0.0));
        assert!(Scale::linear(0.0, 0.0, 1.0).ticks().len() > 1, "nothing but zeroes");
    }

    #[test]
    fn figures_of_many_sizes_get_a_logarithmic_axis() {
        let scale = Scale::fitting([0.0, 85.0, 4_000.0].into_iter(), 0.0, 100.0);
        assert_eq!((scale.min, scale.max), (50.0, 5_000.0));
        assert_eq!(scale.ticks(), [50.0, 100.0, 200.0, 500.0, 1_000.0, 2_000.0, 5_000.0]);
        assert!((scale.at(500.0) - 50.0).abs() < 1e-9);
        assert_eq!(Scale::fitting([1.0, 2.0].into_iter(), 0.0, 1.0).min, 0.0);
        let wide = Scale::fitting([1.0, 1e6].into_iter(), 0.0, 1.0);
        assert_eq!(wide.ticks().len(), 7, "decades only");
    }
}
