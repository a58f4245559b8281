//! The key that signs the next request: fixed, or fetched from a metadata service and renewed before it ends.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::tunnel::credentials::{AccessKey, Credentials, EcsRole, Kind, Temporary};
use crate::tunnel::endpoint::Endpoint;
use crate::tunnel::error::{Error, ErrorKind};
use crate::tunnel::http::{Body, Call, Http, Method};

/// What a request is authorized with.
#[derive(Clone)]
pub(super) enum Identity {
    Key(AccessKey),
    Bearer(String),
}

/// Gives identities, and remembers the fetched one.
pub(super) struct Identities {
    credentials: Credentials,
    held: Mutex<Option<Held>>,
    /// Held while a key is fetched, so that parallel requests fetch one.
    fetching: tokio::sync::Mutex<()>,
}

impl std::fmt::Debug for Identities {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.credentials.fmt(f)
    }
}

#[derive(Clone)]
struct Held {
    temporary: Temporary,
    renew_at: Option<jiff::Timestamp>,
}

/// Longest time a metadata service may take: it is in the same machine or rack.
const METADATA_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a token of the metadata service is asked for, in seconds.
const METADATA_TOKEN_S: &str = "21600";
/// A service that is asked again after a failed renewal, at the earliest.
const RENEW_AGAIN_S: i64 = 30;

impl Identities {
    pub(super) fn new(credentials: Credentials) -> Self {
        Self { credentials, held: Mutex::default(), fetching: tokio::sync::Mutex::default() }
    }

    /// Where keys come from, for the connection pool.
    ///
    /// # Errors
    /// [`ErrorKind::Config`]: not an http or https address.
    pub(super) fn endpoint(credentials: &Credentials) -> Result<Option<Endpoint>, Error> {
        let text = match &credentials.0 {
            Kind::EcsRole(role) => role.endpoint.as_str(),
            Kind::Uri(uri) => uri.split('?').next().unwrap_or_default(),
            Kind::Key(_) | Kind::Bearer(_) => return Ok(None),
        };
        let endpoint = Endpoint::parse(text, None);
        endpoint.map(Some).map_err(|why| Error::new(ErrorKind::Config, format!("the address of credentials {why}")))
    }

    /// The identity for a request at this moment.
    ///
    /// # Errors
    /// [`ErrorKind::Auth`] and [`ErrorKind::Unavailable`]: there is no valid key and none could be fetched.
    pub(super) async fn current(&self, http: &Http) -> Result<Identity, Error> {
        match &self.credentials.0 {
            Kind::Key(key) => return Ok(Identity::Key(key.clone())),
            Kind::Bearer(token) => return Ok(Identity::Bearer(token.clone())),
            Kind::EcsRole(_) | Kind::Uri(_) => {}
        }
        if let Some(key) = self.fresh(http.wall_clock()) {
            return Ok(Identity::Key(key));
        }
        let _fetching = self.fetching.lock().await;
        let now = http.wall_clock();
        if let Some(key) = self.fresh(now) {
            return Ok(Identity::Key(key));
        }
        match self.fetch(http).await {
            Ok(temporary) => {
                let key = temporary.key.clone();
                log::info!("temporary key {} until {}", key.id, shown(temporary.expires));
                let renew_at = temporary.renew_at(now);
                *self.held() = Some(Held { temporary, renew_at });
                Ok(Identity::Key(key))
            }
            Err(error) => {
                // One that still works is better than none.
                let mut held = self.held();
                match held.as_mut().filter(|held| held.temporary.expires.is_none_or(|end| end > now)) {
                    Some(held) => {
                        log::warn!("{error}; going on with the key that ends {}", shown(held.temporary.expires));
                        held.renew_at = now.checked_add(jiff::SignedDuration::from_secs(RENEW_AGAIN_S)).ok();
                        Ok(Identity::Key(held.temporary.key.clone()))
                    }
                    None => Err(error),
                }
            }
        }
    }

    /// Forgets a fetched key that the service refused. True when another may be fetched.
    pub(super) fn refused(&self, refused: &Identity) -> bool {
        if !self.credentials.is_fetched() {
            return false;
        }
        let mut held = self.held();
        if let (Some(now), Identity::Key(key)) = (held.as_ref(), refused)
            && now.temporary.key == *key
        {
            *held = None;
        }
        true
    }

    fn fresh(&self, now: jiff::Timestamp) -> Option<AccessKey> {
        let held = self.held();
        let held = held.as_ref().filter(|held| held.renew_at.is_none_or(|at| now < at))?;
        Some(held.temporary.key.clone())
    }

    async fn fetch(&self, http: &Http) -> Result<Temporary, Error> {
        match &self.credentials.0 {
            Kind::EcsRole(role) => fetch_role(http, role).await,
            Kind::Uri(uri) => {
                let what = "fetch a temporary key from the credentials URI";
                let body = ask(http, Method::Get, uri.clone(), Vec::new(), what).await?;
                Temporary::parse(&body).map_err(|why| Error::new(ErrorKind::Auth, why).during(what))
            }
            Kind::Key(_) | Kind::Bearer(_) => Err(Error::new(ErrorKind::Auth, "these credentials are not fetched")),
        }
    }

    fn held(&self) -> std::sync::MutexGuard<'_, Option<Held>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn shown(moment: Option<jiff::Timestamp>) -> String {
    moment.map_or_else(|| "at no stated time".to_owned(), |moment| moment.to_string())
}

async fn fetch_role(http: &Http, role: &EcsRole) -> Result<Temporary, Error> {
    let what = "fetch a temporary key from the ECS metadata service";
    let base = format!("{}/latest", role.endpoint);
    let ttl = vec![("X-aliyun-ecs-metadata-token-ttl-seconds", METADATA_TOKEN_S.to_owned())];
    let token = match ask(http, Method::Put, format!("{base}/api/token"), ttl, what).await {
        Ok(token) => Some(String::from_utf8_lossy(&token).trim().to_owned()),
        Err(error) if role.allow_v1 && error.status().is_some() => {
            log::debug!("{error}; asking without a token");
            None
        }
        Err(error) => return Err(error),
    };
    let headers = || token.iter().map(|token| ("X-aliyun-ecs-metadata-token", token.clone())).collect::<Vec<_>>();
    let roles = format!("{base}/meta-data/ram/security-credentials/");
    let name = match &role.role {
        Some(name) => name.clone(),
        None => {
            let list = ask(http, Method::Get, roles.clone(), headers(), what).await?;
            let list = String::from_utf8_lossy(&list);
            let first = list.lines().map(str::trim).find(|line| !line.is_empty());
            first
                .map(str::to_owned)
                .ok_or_else(|| Error::new(ErrorKind::Auth, "the instance has no role").during(what))?
        }
    };
    let url = format!("{roles}{}", crate::tunnel::sign::escape(&name));
    let body = ask(http, Method::Get, url, headers(), what).await?;
    Temporary::parse(&body).map_err(|why| Error::new(ErrorKind::Auth, format!("role {name:?}: {why}")).during(what))
}

/// One question to a metadata service. Its error pages are not repeated: they are nobody's to print.
async fn ask(
    http: &Http,
    method: Method,
    url: String,
    headers: Vec<(&'static str, String)>,
    what: &str,
) -> Result<bytes::Bytes, Error> {
    let call = Call { api: "identity", method, url, headers, body: Body::Empty, answer_timeout: METADATA_TIMEOUT };
    let answer = http.send(call).await.map_err(|error| error.during(what))?;
    if answer.is_success() {
        return Ok(answer.body);
    }
    Err(Error::from_service(answer.status, None, "no key")
        .with_kind(match answer.status {
            500..=599 | 429 => ErrorKind::Unavailable,
            _ => ErrorKind::Auth,
        })
        .during(what))
}
