//! Workers that execute schedule programs, one per stage, and the events they emit.
