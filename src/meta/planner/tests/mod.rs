//! Tests of the planner: [`support`] makes clusters, [`audit`] knows what no plan may do; then one file per subject.

mod audit;
mod balance;
mod duties;
mod failures;
mod forecasts;
mod properties;
mod support;
