//! The control path of tests: `/__sandbox/…`, JSON in and out.

use std::time::Duration;

use axum::http::Method;
use serde::Deserialize;
use serde_json::{Value as Json, json};

use super::answer::{Answer, Refusal};
use super::fault::Fault;
use super::service::{Service, Switches};

#[derive(Deserialize)]
#[serde(untagged)]
enum Orders {
    Many { faults: Vec<Fault> },
    One(Fault),
}

#[derive(Deserialize)]
struct ClockOrder {
    advance_s: u64,
}

#[derive(Deserialize)]
struct StreamOrder {
    /// A session's id, or `*`.
    #[serde(default)]
    move_slots: Option<String>,
    /// How many slots there are from then on.
    #[serde(default)]
    slots: Option<u32>,
    /// A session's id, or `*`.
    #[serde(default)]
    expire: Option<String>,
}

#[derive(Deserialize)]
struct SessionOrder {
    #[serde(default)]
    expire: Option<String>,
    #[serde(default)]
    forget: Option<String>,
    #[serde(default)]
    critical: Option<String>,
}

/// Answers a request of the control path.
pub(super) fn answer(service: &Service, method: &Method, path: &str, body: &[u8]) -> Result<Answer, Refusal> {
    let bad = |error: serde_json::Error| Refusal::new(400, "InvalidArgument", format!("/{path}: {error}"));
    match (method.as_str(), path) {
        ("GET", "faults") => Ok(Answer::json(&json!({ "faults": service.faults.waiting() }))),
        ("POST", "faults") => {
            let orders = match serde_json::from_slice(body).map_err(bad)? {
                Orders::Many { faults } => faults,
                Orders::One(fault) => vec![fault],
            };
            let count = orders.len();
            orders.into_iter().for_each(|fault| service.faults.push(fault));
            Ok(Answer::json(&json!({ "ordered": count })))
        }
        ("DELETE", "faults") => {
            service.faults.clear();
            Ok(Answer::json(&json!({})))
        }
        ("GET", "requests") => Ok(Answer::json(&json!({ "requests": service.requests() }))),
        ("DELETE", "requests") => {
            service.forget_requests();
            Ok(Answer::json(&json!({})))
        }
        ("GET", "switches") => Ok(Answer::json(&json!(service.switches()))),
        ("POST", "switches") => {
            // What an order leaves out stays as it is.
            let mut merged = json!(service.switches());
            let order: serde_json::Map<String, Json> = serde_json::from_slice(body).map_err(bad)?;
            if let Some(merged) = merged.as_object_mut() {
                merged.extend(order);
            }
            let switches: Switches = serde_json::from_value(merged).map_err(bad)?;
            service.set_switches(switches);
            Ok(Answer::json(&json!(switches)))
        }
        ("POST", "clock") => {
            let order: ClockOrder = serde_json::from_slice(body).map_err(bad)?;
            service.clock.advance(Duration::from_secs(order.advance_s));
            Ok(Answer::json(&json!({ "now": service.clock.now().to_string() })))
        }
        ("GET", "sessions") => {
            let shown = |list: Vec<(String, &'static str)>| -> Vec<Json> {
                list.into_iter().map(|(id, status)| json!({ "id": id, "status": status })).collect()
            };
            let (uploads, streams) = (shown(service.uploads.list()), shown(service.streams.list()));
            Ok(Answer::json(&json!({ "uploads": uploads, "streams": streams })))
        }
        ("POST", "sessions") => {
            let order: SessionOrder = serde_json::from_slice(body).map_err(bad)?;
            let done = match (&order.expire, &order.forget, &order.critical) {
                (Some(id), None, None) => service.uploads.expire(id),
                (None, Some(id), None) => service.uploads.forget(id),
                (None, None, Some(id)) => service.uploads.break_session(id),
                _ => {
                    let message = "say one of expire, forget and critical, with a session id";
                    return Err(Refusal::new(400, "InvalidArgument", message));
                }
            };
            if done { Ok(Answer::json(&json!({}))) } else { Err(Refusal::new(404, "NoSuchUpload", "no such session")) }
        }
        ("POST", "streams") => {
            let order: StreamOrder = serde_json::from_slice(body).map_err(bad)?;
            let touched = match (&order.move_slots, &order.expire) {
                (Some(id), None) => service.streams.move_slots(id, order.slots),
                (None, Some(id)) => service.streams.expire(id),
                _ => {
                    let message = "say either move_slots or expire, with a session id or *";
                    return Err(Refusal::new(400, "InvalidArgument", message));
                }
            };
            Ok(Answer::json(&json!({ "sessions": touched })))
        }
        _ => Err(Refusal::new(404, "InvalidURI", format!("no control path '{method} /{path}'"))),
    }
}
