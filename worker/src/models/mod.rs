//! Networks, one per file, with the parameter names of the published weights.

pub mod albef;
pub mod bert;
pub mod layers;
pub mod vit;
