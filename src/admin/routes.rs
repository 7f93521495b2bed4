//! What there is to be asked for.

use crate::request::Request;
use crate::response::Response;
use crate::source::{Source, Unavailable};

/// A path, what it tells, and who answers.
struct Route {
    path: &'static str,
    help: &'static str,
    answer: fn(&dyn Source, &Request) -> Response,
}

const ROUTES: [Route; 4] = [
    Route {
        path: "/metrics",
        help: "figures for Prometheus; with ?per_group=1 also those of each group",
        answer: |source, request| or_unavailable(source.metrics(request.asks_for("per_group")), Response::exposition),
    },
    Route {
        path: "/livez",
        help: "200 while the process does its work, else 503 and the reason to start it again",
        answer: |source, _| or_unavailable(source.live(), |text| Response::text(200, text)),
    },
    Route {
        path: "/readyz",
        help: "200 while the node serves clients, else 503 and the reasons",
        answer: |source, _| or_unavailable(source.ready(), |text| Response::text(200, text)),
    },
    Route {
        path: "/debug/state",
        help: "all figures and how each group stands, as JSON",
        answer: |source, _| or_unavailable(source.state(), Response::json),
    },
];

/// Answers a request.
pub fn answer(source: &dyn Source, request: &Request) -> Response {
    match ROUTES.iter().find(|route| route.path == request.path) {
        Some(route) => (route.answer)(source, request),
        None if request.path == "/" => Response::text(200, listing()),
        None => Response::text(404, format!("there is no such path; there are\n{}", listing())),
    }
}

fn listing() -> String {
    ROUTES.iter().map(|route| format!("{:14}{}\n", route.path, route.help)).collect()
}

fn or_unavailable(answer: Result<String, Unavailable>, show: impl FnOnce(String) -> Response) -> Response {
    answer.map_or_else(|unavailable| Response::text(503, unavailable.to_string()), show)
}
