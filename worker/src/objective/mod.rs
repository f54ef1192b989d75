//! ALBEF's three losses (Li et al., 2021, section 3.2), each as a sum over this rank's rows, so that ranks with
//! different counts add up to one mean.

mod duplicates;
pub mod itc;
pub mod itm;
pub mod mlm;
