//! Models written to and read from files.

use stagger_model::{Layer, MODEL_NAMES, Model};

#[test]
fn every_zoo_model_survives_toml_and_json() {
    for name in MODEL_NAMES {
        let model = Model::by_name(name, [3, 32, 32], 10).unwrap();
        let json = serde_json::to_string(&model).unwrap();
        assert_eq!(serde_json::from_str::<Model>(&json).unwrap(), model);
        let toml = toml::to_string(&model).unwrap();
        assert_eq!(toml::from_str::<Model>(&toml).unwrap(), model);
    }
}

fn tiny(layers: &str) -> Result<Model, toml::de::Error> {
    toml::from_str(&format!(
        "name = 'tiny'\ninput = [1, 4, 4]\nclasses = 2\n[[blocks]]\nname = 'all'\nlayers = [{layers}]\n"
    ))
}

#[test]
fn settings_with_a_usual_value_can_be_left_out() {
    let model = tiny(
        "{ kind = 'conv2d', name = 'conv', in_channels = 1, out_channels = 2, kernel = 3, padding = 1 },
         { kind = 'batch-norm2d', name = 'bn', channels = 2 }, { kind = 'relu' },
         { kind = 'global-avg-pool' }, { kind = 'flatten' },
         { kind = 'linear', name = 'fc', inputs = 2, outputs = 2 }",
    );
    assert_eq!(model.unwrap().parameter_count(), 18 + 4 + 6);
}

#[test]
fn groups_are_written_where_there_are_several() {
    let text = |groups| toml::to_string(&Layer::grouped3x3("conv", 4, 8, groups, 1)).unwrap();
    assert!(!text(1).contains("groups"), "{}", text(1));
    assert!(text(4).contains("groups = 4"), "{}", text(4));
    let read: Layer = toml::from_str(&text(4)).unwrap();
    assert_eq!(read, Layer::grouped3x3("conv", 4, 8, 4, 1));
    assert_eq!(read.parameters()[0].shape, [8, 1, 3, 3]);
}

#[test]
fn a_file_is_checked_as_it_is_read() {
    let message = |layers| tiny(layers).unwrap_err().to_string();
    let found = message("{ kind = 'flatten' }");
    assert!(
        found.contains("expects its last block to end in shape [2]"),
        "{found}"
    );
    let found = message("{ kind = 'linear', name = 'fc', inputs = 16, outputs = 2 }");
    assert!(
        found.contains("model `tiny`, block `all`: layer `fc` expects an input of shape [F]"),
        "{found}"
    );
    let found = message("{ kind = 'convolution' }");
    assert!(found.contains("unknown variant `convolution`"), "{found}");
    let found = message("{ kind = 'max-pool2d', kernel = 2, stride = 2, pad = 1 }");
    assert!(found.contains("unknown field `pad`"), "{found}");
    let found = message("");
    assert!(
        found.contains("model `tiny`, block `all`: has no layers"),
        "{found}"
    );
}
