//! `status`: the cluster on one screen.

use std::time::Duration;

use serde::Serialize;

use super::overview;
use super::wait::Wait;
use crate::cluster::Cluster;
use crate::error::CtlError;
use crate::gateway::Gateway;
use crate::model::Standing;
use crate::screen::Screen;
use crate::text::duration;

/// The same for other programs.
#[derive(Serialize)]
struct Report<'a> {
    /// Whether all nodes are up and all groups at full strength.
    is_whole: bool,
    groups_full: usize,
    groups_lacking: usize,
    groups_without_leader: usize,
    groups_unknown: usize,
    #[serde(flatten)]
    cluster: &'a Cluster,
}

/// Shows the cluster, or waits until all of it is well.
///
/// # Errors
/// If no node can be asked, or what is waited for lasts too long.
pub(crate) fn run(gateway: &Gateway, screen: &mut Screen, wait: Option<Duration>) -> Result<(), CtlError> {
    let Some(limit) = wait else {
        let cluster = Cluster::ask(gateway)?;
        print(&cluster, screen);
        return Ok(());
    };
    let until = Wait { limit, left: &overview::left };
    let (cluster, took) = until.wait(gateway, screen, |cluster| Ok(cluster.is_whole()))?;
    print(&cluster, screen);
    if !screen.is_json {
        let mut page = screen.page();
        page.gap();
        page.paragraph(&format!("All is well, after {}.", duration(took)), 0);
        screen.print(page);
    }
    Ok(())
}

fn print(cluster: &Cluster, screen: &mut Screen) {
    if screen.is_json {
        screen.print_json(&Report {
            is_whole: cluster.is_whole(),
            groups_full: cluster.groups_that_are(Standing::Full),
            groups_lacking: cluster.groups_that_are(Standing::Lacking),
            groups_without_leader: cluster.groups_that_are(Standing::NoLeader),
            groups_unknown: cluster.groups_that_are(Standing::Unknown),
            cluster,
        });
        return;
    }
    let mut page = screen.page();
    overview::show(cluster, &mut page);
    screen.print(page);
}
