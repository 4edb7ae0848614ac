# SPDX-License-Identifier: Apache-2.0
"""attach --pretrain: it teaches, keeps persons apart, pauses, goes on to the same bytes, and personalising starts from it."""
import json
import pathlib
import random
import shutil
import signal
import struct
import subprocess
import time
import unittest

from program import NETWORK, PROGRAM, Case, person, picture, png


class Pretrain(Case):
    def command(self, me, data, *more):
        return ("attach", NETWORK, "-o", me, "--costs", "macs", "--exits", "2", "--epochs", "2", "--pretrain", data, *more)

    def people(self, persons=4, photos=6):
        """A folder a person, a folder a class; what is on the photos does not matter."""
        rng = random.Random(5)
        root = self.folder / "people"
        for p in range(persons):
            for i in range(photos):
                folder = root / f"p{p}" / str((p + i) % 3)
                folder.mkdir(parents=True, exist_ok=True)
                png(folder / f"{i}.png", 28, 28, picture(rng))
        return root

    def test_learns(self):
        data, = person(self.folder, {"general": 150})
        me = self.folder / "me.safetensors"
        value = json.loads(self.works(*self.command(me, data, "--epochs", "20", "--json")))
        self.assertEqual(value["schema"], "exeunt.attach.1")
        self.has_keys(value, "profile classes exits pretrained peak_rss_mb")
        self.has_keys(value["pretrained"], "photos persons skipped cache_bytes seconds")
        self.assertEqual((value["pretrained"]["photos"], value["pretrained"]["persons"]), (150, 0))
        self.assertGreaterEqual(len(value["exits"]), 2)
        for one in value["exits"]:
            self.has_keys(one, "index tap head macs_fraction head_macs pretrained accuracy nll temperature")
            self.assertTrue(one["pretrained"])
            self.assertGreater(one["accuracy"], 0.35)
        self.assertFalse(me.with_name(me.name + ".pretrain").exists())
        done = self.report("personalise", me, data, "--costs", "macs", "--no-measure")
        self.assertEqual(len(done["exits"]), len(value["exits"]))
        again = self.report("evaluate", me, data)
        self.assertGreater(again["exits"][0]["accuracy"], 0.35)

    def test_same_bytes(self):
        """With more threads, on another instruction set, from a kept cache, and with a pause on the way."""
        data = self.people()
        made = [self.folder / f"me{i}.safetensors" for i in range(5)]
        cache = self.folder / "features"
        ways = ((), ("--threads", "2"), ("--isa", "scalar_fma"), ("--cache", cache), ("--cache", cache))
        for me, more in zip(made, ways):
            self.works(*self.command(me, data, "--people", *more))
        for me in made[1:]:
            self.assertEqual(me.read_bytes(), made[0].read_bytes())
        self.assertTrue(cache.exists())
        self.pause_and_go_on(data, made[0])

    def pause_and_go_on(self, data, like):
        me = self.folder / "paused.safetensors"
        features = me.with_name(me.name + ".pretrain")
        words = self.command(me, data, "--people")
        with subprocess.Popen([PROGRAM, *map(str, words)], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as job:
            while job.poll() is None and not (features.exists() and features.stat().st_size > 2000):
                time.sleep(0.001)
            job.send_signal(signal.SIGINT)
            message = job.communicate(timeout=60)[1]
        self.assertEqual(job.returncode, 3, message)
        self.assertRegex(message.decode(), r"\Aexeunt: paused[^\n]*\n\Z")
        self.assertFalse(me.exists())
        self.works(*words)
        self.assertEqual(me.read_bytes(), like.read_bytes())
        self.assertFalse(features.exists())

    def test_general_heads_stay(self):
        """A personal run leaves them, and everything else of what was pretrained, as they were."""
        data, mine = person(self.folder, {"general": 100, "mine": 40})
        me = self.folder / "me.safetensors"
        self.works(*self.command(me, data, "--head", "pooled"))
        before = self.general(me)
        self.works("personalise", me, mine, "--costs", "macs", "--no-measure")
        self.assertGreater(len(before), 4)
        self.assertEqual(before, self.general(me))

    @staticmethod
    def general(path):
        """The bytes of the general heads' tensors."""
        raw = pathlib.Path(path).read_bytes()
        size = struct.unpack("<Q", raw[:8])[0]
        entries = json.loads(raw[8:8 + size])
        places = {name: one["data_offsets"] for name, one in entries.items() if name.startswith("general.")}
        return {name: raw[8 + size + begin:8 + size + end] for name, (begin, end) in places.items()}

    def test_mistakes(self):
        data, me = self.people(), self.folder / "me.safetensors"
        self.fails("attach", NETWORK, "-o", me, "--people", status=2, says="--pretrain")
        self.fails(*self.command(me, data), says="no class 'p0'")  # persons are no classes
        self.fails(*self.command(me, self.folder / "none"), says="none")
        self.fails(*self.command(me, data, "--people", "--epochs", "0"), status=2, says="--epochs")
        self.fails(*self.command(me, data, "--people", "--views", "17"), status=2, says="--views")
        odd = data / "p1" / "unheard-of"
        odd.mkdir()
        png(odd / "0.png", 28, 28, picture(random.Random(1)))
        self.fails(*self.command(me, data, "--people"), says="no class 'unheard-of'")
        (data / "p0" / "0" / "bad.png").write_bytes(b"no photo")
        shutil.rmtree(odd)
        self.fails(*self.command(me, data, "--people"), says="bad.png: neither JPEG nor PNG (--skip-bad leaves such photos out)")
        odd.mkdir()
        png(odd / "0.png", 28, 28, picture(random.Random(1)))
        value = json.loads(self.run_program(*self.command(me, data, "--people", "--skip-bad", "--json")).stdout)
        self.assertEqual((value["pretrained"]["photos"], value["pretrained"]["skipped"]), (24, 2))
        self.assertEqual(value["pretrained"]["persons"], 4)


if __name__ == "__main__":
    unittest.main()
