//! Credentials that Alibaba Cloud's own tools keep: the shared credentials file and the profiles of `aliyun`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::Identity;
use crate::job::secret::Secret;
use crate::limits::SECRET_FILE_BYTES_MAX;

/// What a file or the environment says about who asks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) access_id: Option<String>,
    pub(super) access_key: Option<Secret>,
    pub(super) security_token: Option<Secret>,
    pub(super) identity: Identity,
    /// The file, for the log.
    pub(super) source: Option<String>,
}

/// What the environment points at beside plain keys, in the order of Alibaba Cloud's libraries: the shared credentials file,
/// the profiles of the `aliyun` tool, the role of the ECS instance, the credentials URI. `None` when it says nothing.
pub(super) fn find(env: &BTreeMap<String, String>) -> Option<Found> {
    let set = |name: &str| env.get(name).map(|value| value.trim()).filter(|value| !value.is_empty());
    let is = |name: &str| set(name).is_some_and(|value| value.eq_ignore_ascii_case("true"));
    let home = set("HOME").map(PathBuf::from);
    let profile = set("ALIBABA_CLOUD_PROFILE");
    let shared = set("ALIBABA_CLOUD_CREDENTIALS_FILE").map(PathBuf::from).into_iter().chain(
        home.iter()
            .flat_map(|home| ["credentials", "credentials.ini"].map(|name| home.join(".alibabacloud").join(name))),
    );
    for file in shared {
        let found = read(&file).and_then(|text| of_ini(&text, profile.unwrap_or("default")));
        if let Some(found) = found {
            return Some(named(found, &file));
        }
    }
    if let Some(file) = home.map(|home| home.join(".aliyun/config.json"))
        && let Some(found) = read(&file).and_then(|text| of_aliyun(&text, profile))
    {
        return Some(named(found, &file));
    }
    if let Some(role) = set("ALIBABA_CLOUD_ECS_METADATA").filter(|_| !is("ALIBABA_CLOUD_ECS_METADATA_DISABLED")) {
        return Some(Found { identity: ecs_role(Some(role), env), ..Found::default() });
    }
    set("ALIBABA_CLOUD_CREDENTIALS_URI")
        .map(|uri| Found { identity: Identity::Uri(Secret::new(uri)), ..Found::default() })
}

/// The role of the ECS instance, with the metadata service and the mode that the environment names.
pub(super) fn ecs_role(role: Option<&str>, env: &BTreeMap<String, String>) -> Identity {
    let set = |name: &str| env.get(name).map(|value| value.trim()).filter(|value| !value.is_empty());
    Identity::EcsRole {
        role: role.map(str::to_owned),
        endpoint: set("FOREBAY_ECS_METADATA_ENDPOINT").map(str::to_owned),
        allow_v1: !set("ALIBABA_CLOUD_IMDSV1_DISABLED").is_some_and(|value| value.eq_ignore_ascii_case("true")),
    }
}

fn named(found: Found, file: &Path) -> Found {
    Found { source: Some(file.display().to_string()), ..found }
}

/// A file that is not there, not text or too long says nothing.
fn read(file: &Path) -> Option<String> {
    let length = std::fs::metadata(file).ok()?.len();
    if length > SECRET_FILE_BYTES_MAX as u64 {
        return None;
    }
    std::fs::read_to_string(file).ok()
}

/// A section of the shared credentials file.
fn of_ini(text: &str, profile: &str) -> Option<Found> {
    let mut inside = false;
    let mut values: BTreeMap<String, &str> = BTreeMap::new();
    for line in text.lines().map(str::trim) {
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            inside = name.trim() == profile;
        } else if inside
            && !line.starts_with(['#', ';'])
            && let Some((key, value)) = line.split_once('=')
        {
            values.insert(key.trim().to_ascii_lowercase(), value.trim());
        }
    }
    let value = |name: &str| values.get(name).copied().filter(|value| !value.is_empty());
    if value("enable").is_some_and(|value| value.eq_ignore_ascii_case("false")) {
        return None;
    }
    match value("type").unwrap_or("access_key") {
        "access_key" | "sts" => keys(value("access_key_id"), value("access_key_secret"), value("security_token")),
        "ecs_ram_role" => Some(Found { identity: ecs_role(value("role_name"), &BTreeMap::new()), ..Found::default() }),
        "bearer" | "bearer_token" => {
            let token = Secret::new(value("bearer_token")?);
            Some(Found { identity: Identity::Bearer(token), ..Found::default() })
        }
        _ => None,
    }
}

fn keys(id: Option<&str>, secret: Option<&str>, token: Option<&str>) -> Option<Found> {
    Some(Found {
        access_id: Some(id?.to_owned()),
        access_key: Some(Secret::new(secret?)),
        security_token: token.map(Secret::new),
        ..Found::default()
    })
}

/// The current profile, or the one called `profile`, of the `aliyun` tool's configuration.
fn of_aliyun(text: &str, profile: Option<&str>) -> Option<Found> {
    #[derive(Deserialize)]
    struct Config {
        #[serde(default)]
        current: String,
        #[serde(default)]
        profiles: Vec<Profile>,
    }
    #[derive(Deserialize)]
    #[serde(default)]
    #[derive(Default)]
    struct Profile {
        name: String,
        mode: String,
        access_key_id: String,
        access_key_secret: String,
        sts_token: String,
        ram_role_name: String,
        credentials_uri: String,
    }
    let config: Config = serde_json::from_str(text).ok()?;
    let wanted = profile.unwrap_or(&config.current);
    let found = config.profiles.iter().find(|each| each.name == wanted)?;
    let some = |text: &String| Some(text.trim().to_owned()).filter(|text| !text.is_empty());
    let (id, secret, token) = (some(&found.access_key_id), some(&found.access_key_secret), some(&found.sts_token));
    match found.mode.as_str() {
        "AK" => keys(id.as_deref(), secret.as_deref(), None),
        "StsToken" => keys(id.as_deref(), secret.as_deref(), token.as_deref()),
        "EcsRamRole" => Some(Found {
            identity: ecs_role(some(&found.ram_role_name).as_deref(), &BTreeMap::new()),
            ..Found::default()
        }),
        "CredentialsURI" => {
            let uri = some(&found.credentials_uri)?;
            Some(Found { identity: Identity::Uri(Secret::new(uri)), ..Found::default() })
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn id(found: Option<Found>) -> String {
        let found = found.unwrap();
        format!(
            "{:?} {:?} {:?} {}",
            found.access_id.unwrap_or_default(),
            found.access_key.map(|key| key.expose().to_owned()).unwrap_or_default(),
            found.security_token.map(|token| token.expose().to_owned()).unwrap_or_default(),
            match found.identity {
                Identity::AccessKey => "key".to_owned(),
                Identity::Bearer(token) => format!("bearer {}", token.expose()),
                Identity::EcsRole { role, .. } => format!("role {}", role.unwrap_or_default()),
                Identity::Uri(uri) => format!("uri {}", uri.expose()),
            }
        )
    }

    #[test]
    fn the_shared_credentials_file() {
        let text = "# mine\n[default]\nenable = true\ntype = access_key\naccess_key_id = a\naccess_key_secret = b\n\n\
                    [sts]\ntype=sts\naccess_key_id=c\naccess_key_secret=d\nsecurity_token=e\n[role]\ntype=ecs_ram_role\n\
                    role_name=r\n[off]\nenable=false\naccess_key_id=x\naccess_key_secret=y\n[odd]\ntype=rsa_key_pair\n";
        assert_eq!(id(of_ini(text, "default")), r#""a" "b" "" key"#);
        assert_eq!(id(of_ini(text, "sts")), r#""c" "d" "e" key"#);
        assert_eq!(id(of_ini(text, "role")), r#""" "" "" role r"#);
        for nothing in ["off", "odd", "none"] {
            assert_eq!(of_ini(text, nothing), None, "{nothing}");
        }
    }

    #[test]
    fn the_profiles_of_aliyun() {
        let text = r#"{"current":"b","profiles":[
            {"name":"a","mode":"AK","access_key_id":"i","access_key_secret":"s","sts_token":"unused"},
            {"name":"b","mode":"StsToken","access_key_id":"i2","access_key_secret":"s2","sts_token":"t2"},
            {"name":"c","mode":"EcsRamRole","ram_role_name":"r"},
            {"name":"d","mode":"CredentialsURI","credentials_uri":"http://127.0.0.1/x"},
            {"name":"e","mode":"OAuth"}], "meta_path":""}"#;
        assert_eq!(id(of_aliyun(text, None)), r#""i2" "s2" "t2" key"#);
        assert_eq!(id(of_aliyun(text, Some("a"))), r#""i" "s" "" key"#);
        assert_eq!(id(of_aliyun(text, Some("c"))), r#""" "" "" role r"#);
        assert_eq!(id(of_aliyun(text, Some("d"))), r#""" "" "" uri http://127.0.0.1/x"#);
        assert_eq!(of_aliyun(text, Some("e")), None);
        assert_eq!(of_aliyun("not JSON", None), None);
    }

    #[test]
    fn the_environment_names_roles_and_uris() {
        let env = |pairs: &[(&str, &str)]| -> BTreeMap<String, String> {
            pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
        };
        assert_eq!(find(&env(&[("HOME", "/nowhere")])), None);
        let role = [("ALIBABA_CLOUD_ECS_METADATA", "r"), ("ALIBABA_CLOUD_CREDENTIALS_URI", "http://h")];
        assert_eq!(id(find(&env(&role))), r#""" "" "" role r"#);
        let off = [role[0], role[1], ("ALIBABA_CLOUD_ECS_METADATA_DISABLED", "true")];
        assert_eq!(id(find(&env(&off))), r#""" "" "" uri http://h"#);
        let Some(Found { identity: Identity::EcsRole { allow_v1, endpoint, .. }, .. }) = find(&env(&[
            role[0],
            ("ALIBABA_CLOUD_IMDSV1_DISABLED", "true"),
            ("FOREBAY_ECS_METADATA_ENDPOINT", "http://l"),
        ])) else {
            panic!("a role");
        };
        assert_eq!((allow_v1, endpoint.as_deref()), (false, Some("http://l")));
    }
}
