//! `tasks`: what the cluster does by itself or because somebody has asked for it, how far that is, and why something waits.

use serde::Serialize;

use super::or_dash;
use super::wait::LOOK_EVERY;
use crate::error::CtlError;
use crate::gateway::Gateway;
use crate::model::{self, Task};
use crate::screen::Screen;
use crate::text::{Cell, Page, Tone, bytes, cell, count, toned};

#[derive(Serialize)]
struct Tasks<'a> {
    tasks: &'a [Task],
}

/// Shows the tasks, once or again and again until somebody ends it.
///
/// # Errors
/// If no node says which there are. A watch goes on when nodes cannot be reached for a while.
pub(crate) fn run(gateway: &Gateway, screen: &mut Screen, is_watched: bool) -> Result<(), CtlError> {
    let mut tasks = ask(gateway)?;
    if !is_watched {
        print(&tasks, screen);
        return Ok(());
    }
    let mut trouble = None;
    // Where nothing can be drawn over, whoever reads may go away between two changes: that is no trouble.
    while !screen.is_closed() {
        screen.print_json_if_new(&Tasks { tasks: &tasks });
        let mut page = screen.page();
        show(&tasks, &mut page);
        if let Some(why) = &trouble {
            page.gap();
            page.paragraph(&format!("As it was: {why}"), 0);
        }
        let line = trouble.clone().unwrap_or_else(|| lines(&tasks).join("; "));
        screen.draw(page, &line);
        std::thread::sleep(LOOK_EVERY);
        trouble = match ask(gateway) {
            Ok(now) => {
                tasks = now;
                None
            }
            Err(CtlError::Unreachable(_)) => Some("no node can be reached".to_owned()),
            Err(CtlError::Refused(why)) => Some(why),
            Err(other) => return Err(other),
        };
    }
    Ok(())
}

fn ask(gateway: &Gateway) -> Result<Vec<Task>, CtlError> {
    let mut connection = gateway.connect()?;
    Ok(model::tasks(&gateway.ask(&mut connection, &["CORACLE", "TASKS"])?))
}

fn print(tasks: &[Task], screen: &mut Screen) {
    if screen.is_json {
        return screen.print_json(&Tasks { tasks });
    }
    let mut page = screen.page();
    show(tasks, &mut page);
    screen.print(page);
}

/// Shows tasks as a table.
pub(crate) fn show(tasks: &[Task], page: &mut Page) {
    if tasks.is_empty() {
        return page.paragraph("Nothing is under way.", 0);
    }
    let rows: Vec<_> = tasks.iter().map(row).collect();
    page.table(&["TASK", ">NODE", ">LEADERS", ">REPLICAS", ">BYTES", "STATE", "WHY"], &rows);
}

fn row(task: &Task) -> Vec<Cell> {
    let is_alarm = task.kind == "alarm";
    let figure = |text: String| if is_alarm { cell("-") } else { cell(text) };
    let tone = match task.state.as_str() {
        _ if is_alarm => Tone::Bad,
        "done" => Tone::Good,
        "waiting" => Tone::Doubtful,
        _ => Tone::Plain,
    };
    vec![
        if is_alarm { toned(&task.kind, Tone::Bad) } else { cell(&task.kind) },
        cell(node(task).unwrap_or_else(|| "-".to_owned())),
        figure(task.leaders.to_string()),
        figure(task.replicas.to_string()),
        figure(size(task).unwrap_or_else(|| "-".to_owned())),
        toned(or_dash(&task.state), tone),
        cell(or_dash(&task.reason)),
    ]
}

fn node(task: &Task) -> Option<String> {
    (task.node > 0).then(|| task.node.to_string())
}

/// A line for each task, for where there is no room for a table.
pub(crate) fn lines(tasks: &[Task]) -> Vec<String> {
    if tasks.is_empty() {
        return vec!["nothing is under way".to_owned()];
    }
    tasks.iter().map(line).collect()
}

/// What is left of a task, and why it waits.
pub(crate) fn line(task: &Task) -> String {
    let what = match node(task) {
        Some(node) => format!("{} of node {node}", task.kind),
        None => task.kind.clone(),
    };
    let why = if task.reason.is_empty() { String::new() } else { format!(": {}", task.reason) };
    match task.state.as_str() {
        _ if task.kind == "alarm" => format!("alarm{why}"),
        "done" => format!("{what} is done{why}"),
        "waiting" => format!("{what} waits{why}; {} left", left(task)),
        state => format!("{what} is {state}{why}; {} left", left(task)),
    }
}

/// What is left to do, as figures.
fn left(task: &Task) -> String {
    let number = |number: i64| usize::try_from(number).unwrap_or(0);
    let leaders = count(number(task.leaders), "leader");
    // The replicas of a node that drains stay.
    if task.kind == "drain" {
        return leaders;
    }
    let size = size(task).map_or(String::new(), |size| format!(" ({size})"));
    let replicas = format!("{}{size}", count(number(task.replicas), "replica"));
    if task.leaders > 0 { format!("{leaders}, {replicas}") } else { replicas }
}

/// The bytes that are to be sent, as far as they are known: rows that are in no table yet are not counted.
fn size(task: &Task) -> Option<String> {
    (task.bytes > 0).then(|| bytes(task.bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn task(kind: &str, node: i64, state: &str, reason: &str) -> Task {
        let (kind, state, reason) = (kind.to_owned(), state.to_owned(), reason.to_owned());
        Task { kind, node, leaders: 1, replicas: 12, bytes: 11 << 30, state, reason }
    }

    fn some() -> Vec<Task> {
        vec![
            task("decommission", 3, "running", ""),
            Task {
                leaders: 0,
                replicas: 7,
                ..task("replace", 12, "waiting", "no node can take it: 3 have one already, 1 without room")
            },
            Task { leaders: 0, replicas: 0, bytes: 0, ..task("drain", 2, "done", "") },
            task("alarm", 0, "running", "no node is replaced, as 2 of 6 are missing (3, 5) and at most 1 may be"),
        ]
    }

    #[test]
    fn tasks_are_a_table_that_says_why_something_waits() {
        let mut page = Page::new(false);
        show(&some(), &mut page);
        let expected = "\
TASK          NODE  LEADERS  REPLICAS     BYTES  STATE    WHY
decommission     3        1        12  11.0 GiB  running  -
replace         12        0         7  11.0 GiB  waiting  no node can take it: 3
                                                          have one already, 1
                                                          without room
drain            2        0         0         -  done     -
alarm            -        -         -         -  running  no node is replaced,
                                                          as 2 of 6 are missing
                                                          (3, 5) and at most 1
                                                          may be
";
        let shown = page.finish();
        assert_eq!(shown, expected);
        assert!(shown.lines().all(|line| line.chars().count() <= 80));
        let mut page = Page::new(false);
        show(&[], &mut page);
        assert_eq!(page.finish(), "Nothing is under way.\n");
    }

    #[test]
    fn a_line_says_what_is_left_and_why() {
        let lines = lines(&some());
        assert_eq!(lines[0], "decommission of node 3 is running; 1 leader, 12 replicas (11.0 GiB) left");
        assert!(lines[1].starts_with("replace of node 12 waits: no node can take it"), "{lines:?}");
        assert!(lines[1].ends_with("; 7 replicas (11.0 GiB) left"), "{lines:?}");
        assert_eq!(lines[2], "drain of node 2 is done");
        assert!(lines[3].starts_with("alarm: no node is replaced"), "{lines:?}");
        assert_eq!(line(&task("drain", 2, "waiting", "no heir")), "drain of node 2 waits: no heir; 1 leader left");
    }
}
