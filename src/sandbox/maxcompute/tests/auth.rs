//! Signatures: the vectors of the official clients, and what strangers are told.

use axum::http::HeaderMap;
use axum::http::header::{HeaderName, HeaderValue};
use serde_json::Value as Json;

use super::super::auth::Account;
use super::super::request::Asked;
use super::send;
use crate::sandbox::maxcompute::{MaxComputeSandboxConfig, start};
use crate::tunnel::sign;

fn account() -> Account {
    Account {
        access_id: "DUMMY_ACCESS_ID".to_owned(),
        access_key: "DUMMY_ACCESS_SECRET".to_owned(),
        security_token: None,
        bearer_token: None,
    }
}

/// 2024-01-02T03:04:05Z, when the vectors were signed.
const THEN_MS: i64 = 1_704_164_645_000;

fn asked(method: &str, target: &str, headers: &[(&str, &str)]) -> Asked {
    let headers: HeaderMap = headers
        .iter()
        .map(|(name, value)| {
            let name: HeaderName = name.parse().unwrap();
            (name, value.parse::<HeaderValue>().unwrap())
        })
        .collect();
    Asked::new(method.parse().unwrap(), &target.parse().unwrap(), headers, "R".to_owned())
}

#[test]
fn every_request_of_the_official_clients_is_let_in() {
    let text = include_str!("../../../../proto-tests/vectors/tunnel/client_requests.json");
    let vectors: Json = serde_json::from_str(text).unwrap();
    let mut checked = 0;
    for client in vectors["clients"].as_array().unwrap() {
        for request in client["requests"].as_array().unwrap() {
            let (method, target) = (request["method"].as_str().unwrap(), request["target"].as_str().unwrap());
            let authorization = request["authorization"].as_str().unwrap();
            let mut headers: Vec<(&str, &str)> = request["headers"]
                .as_object()
                .unwrap()
                .iter()
                .map(|(name, value)| (name.as_str(), value.as_str().unwrap()))
                .collect();
            headers.push(("Authorization", authorization));
            let right = asked(method, target, &headers);
            assert_eq!(account().check(&right, THEN_MS), Ok(()), "{method} {target}");
            assert_ne!(right.operation.name(), "unknown", "{method} {target}");
            // One more parameter, and the signature is another request's.
            let more = format!("{target}&x=1");
            let refusal = account().check(&asked(method, &more, &headers), THEN_MS).unwrap_err();
            assert_eq!((refusal.status, refusal.code), (401, "ODPS-0410042"));
            checked += 1;
        }
    }
    assert_eq!(checked, 22);
}

#[test]
fn the_clock_may_be_off_by_a_quarter_of_an_hour() {
    let date = "Tue, 02 Jan 2024 03:04:05 GMT";
    let canonical = format!("GET\n\n\n{date}\n/projects/p");
    let authorization = sign::authorize_legacy("DUMMY_ACCESS_ID", "DUMMY_ACCESS_SECRET", &canonical);
    let asked = asked("GET", "/api/projects/p", &[("Date", date), ("Authorization", &authorization)]);
    let code = |now_ms: i64| account().check(&asked, now_ms).map_err(|refusal| refusal.code);
    assert_eq!(code(THEN_MS + 15 * 60_000), Ok(()));
    assert_eq!(code(THEN_MS - 15 * 60_000), Ok(()));
    assert_eq!(code(THEN_MS + 15 * 60_000 + 1_000), Err("ODPS-0410031"));
    assert_eq!(code(THEN_MS - 15 * 60_000 - 1_000), Err("ODPS-0410031"));
}

#[test]
fn version_four_and_temporary_accounts() {
    let date = "Tue, 02 Jan 2024 03:04:05 GMT";
    let canonical = format!("GET\n\n\n{date}\n/projects/p?partition=a=b c");
    let authorization =
        sign::authorize_v4("DUMMY_ACCESS_ID", "DUMMY_ACCESS_SECRET", "20240102", "cn-hangzhou", &canonical);
    let mut headers = vec![("Date", date), ("Authorization", authorization.as_str())];
    for target in ["/api/projects/p?partition=a%3Db%20c", "/api/projects/p?partition=a%3Db+c"] {
        assert_eq!(account().check(&asked("GET", target, &headers), THEN_MS), Ok(()), "{target}");
    }
    let temporary = Account { security_token: Some("token".to_owned()), ..account() };
    let code = |headers: &[(&str, &str)]| {
        temporary
            .check(&asked("GET", "/projects/p?partition=a%3Db%20c", headers), THEN_MS)
            .map_err(|refusal| refusal.code)
    };
    assert_eq!(code(&headers), Err("ODPS-0410051"));
    headers.push(("authorization-sts-token", "token"));
    assert_eq!(code(&headers), Ok(()));
}

#[tokio::test]
async fn strangers_are_told_in_the_shape_of_each_host() {
    let config = MaxComputeSandboxConfig {
        access_id: "me".to_owned(),
        access_key: Some("key".to_owned()),
        ..MaxComputeSandboxConfig::default()
    };
    let local = start(config).await.unwrap();
    let none = send(local.address(), "GET", "/api/projects/sandbox", &[], None).await.unwrap();
    assert_eq!(none.refusal(), (401, "AuthorizationRequired".to_owned()));
    let date = sign::http_date(jiff::Timestamp::now());
    let other = [("Date", date.as_str()), ("Authorization", "ODPS you:c2ln")];
    let reply = send(local.address(), "GET", "/api/projects/sandbox", &other, None).await.unwrap();
    assert_eq!(reply.refusal(), (401, "ODPS-0410051".to_owned()));
    let wrong = [("Date", date.as_str()), ("Authorization", "ODPS me:c2ln")];
    let reply = send(local.address(), "POST", "/projects/sandbox/tables/t?uploads", &wrong, Some(b"")).await.unwrap();
    assert_eq!(reply.json()["Code"], "ODPS-0410042");
    assert_eq!(reply.status, 401);
    assert_eq!(reply.json()["RequestId"].as_str(), reply.headers.get("x-odps-request-id").map(String::as_str));
    let canonical = format!("GET\n\n\n{date}\n/projects/sandbox");
    let right = sign::authorize_legacy("me", "key", &canonical);
    let right = [("Date", date.as_str()), ("Authorization", right.as_str())];
    assert_eq!(send(local.address(), "GET", "/api/projects/sandbox", &right, None).await.unwrap().status, 200);
}
