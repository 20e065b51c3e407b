import os
import signal

from models.training.interruption import interruptible


def test_a_signal_is_noted_and_handlers_are_put_back():
    before = signal.getsignal(signal.SIGTERM)
    with interruptible() as interruption:
        assert not interruption.wanted
        os.kill(os.getpid(), signal.SIGTERM)
        assert interruption.wanted
        assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL  # a second one ends the process
    assert signal.getsignal(signal.SIGTERM) == before
