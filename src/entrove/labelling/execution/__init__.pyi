from .executor import AttemptExecutor as AttemptExecutor
