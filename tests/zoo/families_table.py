"""One small recipe a family, shared by the tests."""

RECIPES = {
    "smallcnn": {
        "dataset": "images",
        "width": 4,
        "activation": "gelu",
        "dropout": {"uniform": [0.1, 0.5]},
    },
    "wildpark": {
        "dataset": "digits",
        "depth": 3,
        "channels": [4, 5, 4],
        "kernels": [3, 5, 3],
        "activations": ["relu", "tanh", "gelu"],
        "skips": [-1, -1, 0],
        "dropout": 0.3,
    },
    "mlp": {"dataset": "wine", "width": 8, "train_fraction": 0.5, "dropout": 0.2},
    "resnet_bn": {"dataset": "digits", "width": 4, "dropout": 0.2},
    "siren": {"dataset": "digits", "width": 8, "init": "siren", "learning_rate": {"log_uniform": [1.0e-4, 1.0e-3]}},
    "vit_tiny": {"dataset": "digits", "width": 8, "depth": 1, "dropout": 0.1},
    "gpt_char": {"dataset": "sums", "width": 8, "depth": 1, "dropout": 0.1},
    "gru_char": {"dataset": "sums", "width": 6, "dropout": 0.2, "train_fraction": 0.3},
    "policy": {"dataset": "cartpole", "width": 8},
}
OPTIMIZERS = ["sgd", "momentum", "adam", "adamw", "rmsprop"]


def small_recipe(family: str, **changes) -> dict:
    """Content of a recipe of 4 networks with mixed optimizers."""
    sample = {
        "optimizer": {"choice": OPTIMIZERS},
        "learning_rate": {"log_uniform": [1.0e-3, 1.0e-2]},
        "weight_decay": {"log_uniform": [1.0e-5, 1.0e-2]},
        "init_scale": {"uniform": [0.8, 1.2]},
    }
    content = {"name": f"small_{family}", "family": family, "runs": 4, "snapshots": [0, 1], "batch_size": 16}
    return content | {"sample": sample | RECIPES[family]} | changes
