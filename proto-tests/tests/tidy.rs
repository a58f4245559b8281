//! Rules over the source tree that would silently rot.
