# SPDX-License-Identifier: Apache-2.0
"""Training that is killed at random moments goes on to the bytes of an uninterrupted run. EXN_KILLS: how often in all
(default 12; from 100 on longer work is killed, of which more is kept on the way); EXN_KILL_SEED: of the moments."""
import os
import random
import resource
import signal
import subprocess
import time
import unittest

from program import NETWORK, PROGRAM, Case, person

KILLS = int(os.environ.get("EXN_KILLS", "12"))
LONG = KILLS >= 100
SEED = int(os.environ.get("EXN_KILL_SEED", str(time.time_ns() % 10 ** 6)))


def computed():
    """Seconds of processor time that programs took: what others do on this machine does not count."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


class Kill(Case):
    def setUp(self):
        super().setUp()
        self.rng = random.Random(SEED)
        self.general, self.mine = person(self.folder, {"general": 150 if LONG else 60, "mine": 60 if LONG else 30})
        self.like = self.folder / "like.safetensors"

    def personalise(self, me, *more):
        return ("personalise", me, self.mine, "--costs", "macs", "--no-measure", *more)

    def pretrain(self, me):
        return ("attach", NETWORK, "-o", me, "--costs", "macs", "--exits", "2", "--pretrain", self.general,
                "--epochs", "12" if LONG else "4", "--head", "conv")

    def run_for(self, seconds, words):
        """Kills the program after that time. True: it was done before."""
        with subprocess.Popen([PROGRAM, *map(str, words)], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as job:
            try:
                message = job.communicate(timeout=seconds)[1]
            except subprocess.TimeoutExpired:
                job.kill()
                message = job.communicate()[1]
        self.assertIn(job.returncode, (0, -signal.SIGKILL), message)
        return job.returncode == 0

    def until_done(self, me, words, again, length, kills):
        """Killed up to `kills` times, then left alone. Returns how often. The profile is always the old or the new one."""
        old = me.read_bytes() if me.exists() else None
        done, begin = 0, computed()
        while done < kills and not self.run_for(self.rng.uniform(0, length), words):
            done += 1
            words = again
            now = me.read_bytes() if me.exists() else None
            self.assertTrue(now in (old, self.like.read_bytes()), f"seed {SEED}, kill {done}")
        if done == kills:
            self.works(*again)
        if LONG:  # two seconds of work a kill, and starting again
            self.assertLess(computed() - begin, 1.2 * self.whole + 2.5 * done, f"seed {SEED}, {done} kills")
        self.assertEqual(me.read_bytes(), self.like.read_bytes(), f"seed {SEED}, {done} kills")
        for name in ("progress", "progress.0", "progress.1", "cache", "pretrain"):
            self.assertFalse(me.with_name(f"{me.name}.{name}").exists(), name)
        return done

    def measure(self, words):
        begin, self.whole = time.monotonic(), -computed()
        self.works(*words)
        self.whole += computed()
        return time.monotonic() - begin

    def check_personal(self, kills, *attach):
        fresh = self.attach(*attach, name="fresh.safetensors").read_bytes()
        self.like.write_bytes(fresh)
        length = self.measure(self.personalise(self.like))
        done = 0
        me = self.folder / "me.safetensors"
        while done < kills:
            me.write_bytes(fresh)
            done += self.until_done(me, self.personalise(me), self.personalise(me, "--resume"), length, kills - done)
        print(f"{done} kills of personalise {' '.join(attach)} ({length:.2f} s)")

    def test_last_layers(self):
        self.check_personal(KILLS // 3, "--exits", "2", "--head", "pooled")

    def test_whole_heads(self):
        self.check_personal(KILLS // 3, "--exits", "2" if LONG else "1", "--head", "conv")

    def test_pretraining(self):
        length = self.measure(self.pretrain(self.like))
        done, wanted = 0, KILLS - 2 * (KILLS // 3)
        me = self.folder / "me.safetensors"
        while done < wanted:
            me.unlink(missing_ok=True)
            done += self.until_done(me, self.pretrain(me), self.pretrain(me), length, wanted - done)
        print(f"{done} kills of attach --pretrain ({length:.2f} s)")

    def stop(self, words, number):
        """Sends a signal once an exit is finished."""
        kept = words[1].with_name(words[1].name + ".progress")
        with subprocess.Popen([PROGRAM, *map(str, words)], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as job:
            while job.poll() is None and not (kept.exists() and kept.stat().st_size > 1000):
                time.sleep(0.0005)
            time.sleep(0.05)
            job.send_signal(number)
            message = job.communicate(timeout=60)[1]
        self.assertEqual(job.returncode, 3, message)
        return kept

    def prepare(self):
        me = self.attach("--exits", "1", "--head", "conv")
        self.like.write_bytes(me.read_bytes())
        self.works(*self.personalise(self.like))
        return me

    def test_signals(self):
        """Paused in the middle of training, by either signal; what was kept is used, and damaged it is not believed."""
        me = self.prepare()
        fresh = me.read_bytes()
        for number in (signal.SIGINT, signal.SIGTERM):
            for damage in (False, True):
                me.write_bytes(fresh)
                kept = self.stop(self.personalise(me), number)
                self.assertEqual(me.read_bytes(), fresh)
                files = [kept, *(p for p in (kept.with_name(kept.name + e) for e in (".0", ".1")) if p.exists())]
                for path in files if damage else ():
                    raw = bytearray(path.read_bytes())
                    raw[self.rng.randrange(len(raw))] ^= 1 << self.rng.randrange(8)
                    path.write_bytes(raw[:self.rng.randrange(40, len(raw))])
                done = self.run_program(*self.personalise(me, "--resume"))
                if done.returncode and damage:  # the file no longer says what it is
                    self.assertIn(b"keeps no progress", done.stderr)
                    kept.unlink()
                    self.works(*self.personalise(me, "--resume"))
                self.assertEqual(me.read_bytes(), self.like.read_bytes())

    def test_other_samples(self):
        """What was kept of other samples is not used."""
        me = self.prepare()
        self.stop(self.personalise(me), signal.SIGINT)
        other = self.attach("--exits", "1", "--head", "conv", name="other.safetensors")
        words = ("--costs", "macs", "--no-measure")
        done = self.run_program("personalise", me, self.general, *words, "--resume")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn(b"is of other samples, options or another version, or cut short", done.stderr)
        self.works("personalise", other, self.general, *words)
        self.assertEqual(me.read_bytes(), other.read_bytes())
        self.stop(self.personalise(me), signal.SIGINT)
        said = self.run_program("personalise", me, self.general, *words).stderr
        self.assertIn(b"what a run that was cut off had done is dropped; --resume", said)

    def test_full_disk(self):
        """Progress that finds no room ends the run with a line; the same command goes on when there is."""
        me = self.prepare()
        old = me.read_bytes()
        shared = self.folder / "features"
        self.works(*self.personalise(self.attach("--exits", "1", "--head", "conv", name="x.safetensors"), "--cache",
                                     shared))
        message = self.fails(*self.personalise(me, "--cache", shared), limit=shared.stat().st_size // 100)
        self.assertIn("me.safetensors.progress", message)
        self.assertEqual(me.read_bytes(), old)
        self.works(*self.personalise(me, "--cache", shared, "--resume"))
        self.assertEqual(me.read_bytes(), self.like.read_bytes())


if __name__ == "__main__":
    unittest.main()
