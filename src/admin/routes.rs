//! What there is to be asked for.

use std::time::Duration;

use crate::request::Request;
use crate::response::Response;
use crate::source::{NoProfile, Source, Unavailable};

/// How long a CPU profile takes if nobody says.
const PROFILE_SECONDS: u64 = 10;
/// How long it takes at most: one of the few clients is busy with it.
const PROFILE_SECONDS_MAX: u64 = 60;

/// What a `HEAD` for a profile is told.
const GET_ALONE: &str = "a profile is taken for GET alone";

/// A path, what it tells, and who answers.
struct Route {
    path: &'static str,
    help: &'static str,
    answer: fn(&Asked<'_>) -> Response,
}

/// A request, who answers it, and whether its client is still there.
struct Asked<'a> {
    source: &'a dyn Source,
    request: &'a Request,
    is_wanted: &'a dyn Fn() -> bool,
}

const ROUTES: [Route; 6] = [
    Route {
        path: "/metrics",
        help: "figures for Prometheus; with ?per_group=1 also those of each group",
        answer: |asked| {
            let figures = asked.source.metrics(asked.request.asks_for("per_group"));
            or_unavailable(figures.map(|figures| figures.to_text()), Response::exposition)
        },
    },
    Route {
        path: "/livez",
        help: "200 while the process does its work, else 503 and the reason to start it again",
        answer: |asked| or_unavailable(asked.source.live(), |text| Response::text(200, text)),
    },
    Route {
        path: "/readyz",
        help: "200 while the node serves clients, else 503 and the reasons",
        answer: |asked| or_unavailable(asked.source.ready(), |text| Response::text(200, text)),
    },
    Route {
        path: "/debug/state",
        help: "all figures and how each group stands, as JSON",
        answer: |asked| or_unavailable(asked.source.state(), Response::json),
    },
    Route {
        path: "/debug/pprof/profile",
        help: "where CPU time goes, for `go tool pprof`; ?seconds=1 to 60, 10 if it is not there; one at a time",
        answer: cpu_profile,
    },
    Route {
        path: "/debug/pprof/heap",
        help: "what has allocated memory and what of it is in use, for `go tool pprof`; one at a time",
        answer: heap_profile,
    },
];

/// Answers a request. What takes long ends once `is_wanted` says that nobody waits for it.
pub fn answer(source: &dyn Source, request: &Request, is_wanted: &dyn Fn() -> bool) -> Response {
    match ROUTES.iter().find(|route| route.path == request.path) {
        Some(route) => (route.answer)(&Asked { source, request, is_wanted }),
        None if request.path == "/" => Response::text(200, listing()),
        None => Response::text(404, format!("there is no such path; there are\n{}", listing())),
    }
}

fn cpu_profile(asked: &Asked<'_>) -> Response {
    if asked.request.is_head {
        return Response::text(400, GET_ALONE);
    }
    let given = asked.request.value("seconds");
    let seconds = given.map_or(Some(PROFILE_SECONDS), |text| text.parse().ok());
    let Some(seconds) = seconds.filter(|seconds| (1..=PROFILE_SECONDS_MAX).contains(seconds)) else {
        let range = format!("`seconds` must be a whole number from 1 to {PROFILE_SECONDS_MAX}");
        return Response::text(400, range);
    };
    or_no_profile(asked.source.cpu_profile(Duration::from_secs(seconds), asked.is_wanted))
}

fn heap_profile(asked: &Asked<'_>) -> Response {
    if asked.request.is_head {
        return Response::text(400, GET_ALONE);
    }
    or_no_profile(asked.source.heap_profile())
}

fn or_no_profile(profile: Result<Vec<u8>, NoProfile>) -> Response {
    match profile {
        Ok(profile) => Response::file(profile),
        Err(error) => {
            let status = match error {
                NoProfile::Off(_) => 403,
                NoProfile::Busy(_) => 409,
                NoProfile::Failed(_) => 503,
            };
            Response::text(status, error.to_string())
        }
    }
}

fn listing() -> String {
    ROUTES.iter().map(|route| format!("{:22}{}\n", route.path, route.help)).collect()
}

fn or_unavailable(answer: Result<String, Unavailable>, show: impl FnOnce(String) -> Response) -> Response {
    answer.map_or_else(|unavailable| Response::text(503, unavailable.to_string()), show)
}
