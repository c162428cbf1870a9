//! Flags that say options.

/// Defines flags, all optional, that have the names of [`TrainingOptions`](stagger::TrainingOptions).
macro_rules! flags {
    ($(#[$doc:meta])* pub struct $flags:ident {
        $($(#[$meta:meta])* $name:ident: $kind:ty,)*
    }) => {
        #[derive(Args, Clone, Debug)]
        $(#[$doc])*
        pub struct $flags {
            $($(#[$meta])* $name: Option<$kind>,)*
        }

        impl $flags {
            /// What they say.
            pub fn options(&self) -> TrainingOptions {
                TrainingOptions {
                    $($name: self.$name.clone(),)*
                    ..TrainingOptions::default()
                }
            }
        }
    };
}

pub(super) use flags;
