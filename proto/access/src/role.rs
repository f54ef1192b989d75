//! Three roles, and what each may call.

use std::{fmt, str::FromStr};

/// What the holder of a token is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// Sees everything and changes nothing.
    Viewer,
    /// Sees everything and steers the run.
    Operator,
    /// Takes part in the run.
    Worker,
}

/// All roles.
pub const ROLES: [Role; 3] = [Role::Viewer, Role::Operator, Role::Worker];

/// Who makes a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// What he may do.
    pub role: Role,
    /// As the file of the tokens names him.
    pub name: String,
}

/// What a call asks of its caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// Any of the roles.
    Any,
    /// To look: viewers and operators.
    View,
    /// To steer: operators.
    Operate,
    /// To take part: workers.
    Work,
}

impl Role {
    /// Whether this role may do what needs `need`.
    pub fn may(self, need: Need) -> bool {
        match need {
            Need::Any => true,
            Need::View => matches!(self, Self::Viewer | Self::Operator),
            Need::Operate => self == Self::Operator,
            Need::Work => self == Self::Worker,
        }
    }
}

/// What a request for `path` needs: a gRPC method, `/package.Service/Method`, or a page.
pub fn need(path: &str) -> Need {
    match path.trim_start_matches('/').split_once('/') {
        Some(("tandem.v1.Membership" | "tandem.v1.Rendezvous", _)) => Need::Work,
        Some(("tandem.v1.Operator", "Status" | "Watch" | "Events" | "Quarantine" | "Logs")) => Need::View,
        Some(("tandem.v1.Operator", _)) => Need::Operate,
        Some(("grpc.health.v1.Health", _)) => Need::Any,
        _ => Need::View,
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Viewer => "viewer",
            Self::Operator => "operator",
            Self::Worker => "worker",
        })
    }
}

impl FromStr for Role {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        ROLES.into_iter().find(|role| role.to_string() == text).ok_or("no such role")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use prost::Message;

    /// What each method of the contract needs: a new one is refused here until somebody has thought of it.
    #[test]
    fn every_method_needs_what_it_should() {
        let files = prost_types::FileDescriptorSet::decode(proto::v1::DESCRIPTORS).unwrap();
        let services = files.file.iter().flat_map(|file| file.service.iter());
        let mut views = Vec::new();
        for service in services {
            for method in &service.method {
                let need = need(&format!("/tandem.v1.{}/{}", service.name(), method.name()));
                match (service.name(), need) {
                    ("Operator", Need::View) => views.push(method.name().to_owned()),
                    ("Operator", need) => assert_eq!(need, Need::Operate),
                    (_, need) => assert_eq!(need, Need::Work),
                }
            }
        }
        assert_eq!(views, ["Status", "Watch", "Events", "Quarantine", "Logs"], "these change nothing");
    }

    #[test]
    fn a_role_may_do_its_own_and_no_other() {
        let may = |role: Role| [Need::Any, Need::View, Need::Operate, Need::Work].map(|need| role.may(need));
        assert_eq!(may(Role::Viewer), [true, true, false, false]);
        assert_eq!(may(Role::Operator), [true, true, true, false]);
        assert_eq!(may(Role::Worker), [true, false, false, true]);
        assert_eq!(need("/"), Need::View);
        assert_eq!(need("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo"), Need::View);
        assert_eq!(need("//tandem.v1.Membership/Join"), Need::Work);
    }
}
