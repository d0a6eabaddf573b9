//! Histograms into which nothing has been measured yet. OpenTelemetry shows none of them, and a rate would then miss the
//! first value of each.

use prometheus::proto::{Bucket, Histogram, LabelPair, Metric, MetricFamily, MetricType};

/// A histogram as `/metrics` names it, with the values that its one label takes.
pub(super) struct Known {
    pub(super) name: &'static str,
    pub(super) help: &'static str,
    pub(super) bounds: &'static [f64],
    pub(super) label: Option<(&'static str, &'static [&'static str])>,
}

impl Known {
    /// Adds what is not there.
    pub(super) fn add_to(&self, families: &mut Vec<MetricFamily>) {
        let place = families.iter().position(|family| family.name() == self.name);
        let family = match place.and_then(|place| families.get_mut(place)) {
            Some(family) => family,
            None => families.push_mut(self.family()),
        };
        let series = self.label.map_or_else(
            || vec![Vec::new()],
            |(name, values)| values.iter().map(|value| vec![pair(name, value)]).collect(),
        );
        for labels in series {
            if !family.get_metric().iter().any(|metric| metric.get_label() == labels) {
                family.mut_metric().push(self.empty(labels));
            }
        }
    }

    fn family(&self) -> MetricFamily {
        let mut family = MetricFamily::default();
        family.set_name(self.name.to_owned());
        family.set_help(self.help.to_owned());
        family.set_field_type(MetricType::HISTOGRAM);
        family
    }

    fn empty(&self, labels: Vec<LabelPair>) -> Metric {
        let bucket = |bound: &f64| {
            let mut bucket = Bucket::default();
            bucket.set_upper_bound(*bound);
            bucket
        };
        let mut histogram = Histogram::default();
        histogram.set_bucket(self.bounds.iter().map(bucket).collect());
        let mut metric = Metric::from_label(labels);
        metric.set_histogram(histogram);
        metric
    }
}

fn pair(name: &str, value: &str) -> LabelPair {
    let mut pair = LabelPair::default();
    pair.set_name(name.to_owned());
    pair.set_value(value.to_owned());
    pair
}
